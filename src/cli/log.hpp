// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace remapfs::cli {

enum class LogPlace { terminal, syslog };

// Opens the daemon's log. Messages go through a bounded queue to a thread of its own, and the oldest are dropped when
// it is full: whoever logs never waits for a disk that may be the one we serve. Call after the last fork.
void open_log(LogPlace place);
// Writes out what is queued. Call last.
void close_log();

void log_info(const std::string& message);
void log_warning(const std::string& message);
void log_error(const std::string& message);

}  // namespace remapfs::cli
