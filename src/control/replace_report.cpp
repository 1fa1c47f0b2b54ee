// SPDX-License-Identifier: Apache-2.0
#include "control/replace_report.hpp"

#include "control/json_values.hpp"

namespace remapfs {

using Json = nlohmann::ordered_json;

Json to_json(const ReplaceStatus& replacement) {
  if (replacement.state == ReplaceState::never) return nullptr;
  Json left(nullptr);
  if (replacement.state == ReplaceState::copying && replacement.bytes_per_second != 0) {
    left = replacement.left_bytes / replacement.bytes_per_second;
  }
  return {{"state", to_string(replacement.state)},
          {"path", replacement.path},
          {"bytes_total", replacement.total_bytes},
          {"bytes_left", replacement.left_bytes},
          {"copied_once", replacement.again || replacement.switched},
          {"bytes_per_second", replacement.bytes_per_second},
          {"seconds_left", left},
          {"switched", replacement.switched},
          {"returned_blocks", replacement.returned_blocks},
          {"kept_blocks", replacement.kept_blocks},
          {"trouble", text_or_null(replacement.trouble)}};
}

}  // namespace remapfs
