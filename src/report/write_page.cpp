// SPDX-License-Identifier: Apache-2.0
#include "report/write_page.hpp"

#include <algorithm>
#include <ostream>
#include <string>
#include <string_view>

#include "report/page.hpp"

namespace remapfs::report {

void write_page(const nlohmann::ordered_json& data, std::ostream& out) {
  const std::string text = data.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  out << kPageHead;
  // In JSON this character stands only inside of texts; as an escape it can neither end the element nor begin another.
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t next = std::min(text.find('<', at), text.size());
    out << std::string_view(text).substr(at, next - at);
    if (next < text.size()) out << "\\u003c";
    at = next + 1;
  }
  out << kPageTail;
}

}  // namespace remapfs::report
