// SPDX-License-Identifier: Apache-2.0
// What another program left of a mount: refused, or understood as it would have been written.
#include "cli/handover.hpp"

#include <cstring>

#include "fuzz/fuzz_input.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace remapfs::cli;
  static const auto shared = SharedHandover::create();
  REMAPFS_INVARIANT(shared.has_value());
  Handover& handover = **shared;
  const std::size_t used = std::min(size, handover.record.size());
  if (used > 0) std::memcpy(handover.record.data(), data, used);
  handover.record_size = static_cast<std::uint32_t>(used);
  const auto record = read_record(handover);
  if (!record) return 0;
  REMAPFS_INVARIANT(write_record(handover, *record).has_value());
  const auto again = read_record(handover);
  REMAPFS_INVARIANT(again.has_value());
  REMAPFS_INVARIANT(again->spec.map_path == record->spec.map_path && again->mount_point == record->mount_point);
  REMAPFS_INVARIANT(again->init.request == record->init.request && again->init.reply == record->init.reply);
  return 0;
}
