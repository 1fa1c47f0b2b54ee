// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/json.hpp"
#include "remapfs/replace.hpp"

namespace remapfs {

// How a replacement of the primary is, as `status -J` and `replace -J` show it. Null: there has been none since the
// volume was mounted.
[[nodiscard]] nlohmann::ordered_json to_json(const ReplaceStatus& replacement);

}  // namespace remapfs
