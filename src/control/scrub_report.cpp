// SPDX-License-Identifier: Apache-2.0
#include "control/scrub_report.hpp"

#include <algorithm>

#include "control/json_values.hpp"

namespace remapfs {

using Json = nlohmann::ordered_json;

Json to_json(const ScrubStatus& scrub, const VolumeInfo& info) {
  const ScrubRecord& record = scrub.record;
  const std::uint64_t total = info.size.value();
  const std::uint64_t done = std::min(total, record.next.value() * info.block_size);
  Json left(nullptr);
  if (record.state == ScrubState::running && scrub.bytes_per_second != 0) {
    left = (total - done) / scrub.bytes_per_second;
  }
  return {{"state", to_string(record.state)},
          {"next_block", record.next.value()},
          {"total_blocks", scrub.total_blocks},
          {"bytes_done", done},
          {"bytes_total", total},
          {"bytes_per_second", scrub.bytes_per_second},
          {"seconds_left", left},
          {"rate_limit", record.rate == 0 ? Json(nullptr) : Json(record.rate)},
          {"moved_blocks", record.found.moved_blocks},
          {"weak_blocks", record.found.weak_blocks},
          {"lost_sectors", record.found.lost_sectors},
          {"unread_blocks", record.found.unread_blocks},
          {"started_at", text_or_null(record.started_at)},
          {"updated_at", text_or_null(record.updated_at)},
          {"trouble", text_or_null(scrub.trouble)}};
}

ScrubStatus scrub_at_rest(const VolumeInfo& info) {
  return {info.scrub, BlockGeometry(info.block_size).blocks_in(info.size), 0, {}};
}

}  // namespace remapfs
