// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cli/target.hpp"
#include "cli/world.hpp"
#include "core/json.hpp"
#include "remapfs/error.hpp"
#include "store/map_reader.hpp"

namespace remapfs::cli {

// What `status -J` shows of a target: by its daemon when it is mounted, else by its map. Errors: those of find_daemon()
// and of reading the map.
[[nodiscard]] Result<nlohmann::ordered_json> status_of(const Target& target, const World& world);

// JSON for people and programs: indented, with a line end. Bytes that are not UTF-8 (of file names) are replaced.
[[nodiscard]] std::string pretty(const nlohmann::ordered_json& value);
// A value of it for people: text as it is, null as nothing.
[[nodiscard]] std::string text_of(const nlohmann::ordered_json& value);
// What there is to say of one of its devices: "missing", "being retired", "from 9G on" (of a spare at the end of a
// primary), or nothing.
[[nodiscard]] std::string note_of_device(const nlohmann::ordered_json& device);

// "42 %": how much of the disk was copied.
[[nodiscard]] std::string share_copied(const nlohmann::ordered_json& replacement);
// How the copy to a new primary is: "42 % copied to /dev/sdc, 1.2G left, 95M/s, 3:07 min left". Empty when nothing goes
// on.
[[nodiscard]] std::string replacement_in_words(const nlohmann::ordered_json& replacement);

// The files of the volume: map, log, devices.
[[nodiscard]] std::vector<std::string> paths_of_status(const nlohmann::ordered_json& status);
// An event as `events -J` shows it.
[[nodiscard]] nlohmann::ordered_json event_json(const store::ListedEvent& event);

}  // namespace remapfs::cli
