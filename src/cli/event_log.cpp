// SPDX-License-Identifier: Apache-2.0
#include "cli/event_log.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "cli/log.hpp"

namespace remapfs::cli {

void log_event(const Event& event) {
  constexpr std::array<std::string_view, 4> kUsual{kMountEvent, kUnmountEvent, "scrub-started", "scrub-finished"};
  const std::string line = event.block ? fmt::format("{}: block {}: {}", event.kind, event.block->value(), event.detail)
                                       : fmt::format("{}: {}", event.kind, event.detail);
  const bool usual = std::find(kUsual.begin(), kUsual.end(), event.kind) != kUsual.end();
  usual ? log_info(line) : log_warning(line);
}

}  // namespace remapfs::cli
