// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/json.hpp"
#include "remapfs/map_store.hpp"
#include "remapfs/scrub.hpp"
#include "remapfs/volume.hpp"

namespace remapfs {

// How a scrub is, as `status -J` and `scrub -J` show it: its record, how far it is in bytes and at what rate. Unknown
// is null, sizes are bytes.
[[nodiscard]] nlohmann::ordered_json to_json(const ScrubStatus& scrub, const VolumeInfo& info);

// Of a volume that nobody scrubs: what its map says.
[[nodiscard]] ScrubStatus scrub_at_rest(const VolumeInfo& info);

}  // namespace remapfs
