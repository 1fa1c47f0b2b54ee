// SPDX-License-Identifier: Apache-2.0
// What the kernel says in /proc and /sys, with names in it that anybody chose, and what a map remembers of a device.
#include <string>

#include "cli/mount_entry.hpp"
#include "fuzz/fuzz_input.hpp"
#include "io/device_identity.hpp"
#include "io/proc_files.hpp"
#include "io/sysfs.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace remapfs;
  const std::string_view text = fuzz::as_text(data, size);
  if (const auto entry = cli::parse_mount_entry(text)) {
    // A name cannot put another field in front of itself.
    REMAPFS_INVARIANT(entry->device.find_first_not_of("0123456789:") == std::string::npos);
    REMAPFS_INVARIANT(entry->mount_point.size() <= text.size() && entry->type.size() <= text.size());
  }
  const std::string whole(text);
  if (const auto identity = parse_identity(whole)) {
    const std::string written = to_line(*identity);
    const auto again = parse_identity(written);
    REMAPFS_INVARIANT(again.has_value());
    REMAPFS_INVARIANT(to_line(*again) == written);
  }
  if (const auto number = parse_decimal(text)) REMAPFS_INVARIANT(parse_decimal(std::to_string(*number)) == *number);
  if (const auto device = parse_device_number(whole)) {
    REMAPFS_INVARIANT(parse_device_number(device_number_text(*device)) == *device);
  }
  return 0;
}
