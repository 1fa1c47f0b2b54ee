// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace remapfs::report {

// page.html with style.css and the scripts in it, before and after the data.
extern const std::string_view kPageHead;
extern const std::string_view kPageTail;

}  // namespace remapfs::report
