// SPDX-License-Identifier: Apache-2.0
// The lists of `mount -o`, as people, fstab and mount(8) give them.
#include <string>
#include <vector>

#include "cli/mount_options.hpp"
#include "fuzz/fuzz_input.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace remapfs;
  // One list a line.
  std::vector<std::string> lists;
  std::string_view text = fuzz::as_text(data, size);
  while (true) {
    const auto end = text.find('\n');
    lists.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  const auto settings = cli::parse_mount_options(lists);
  if (!settings) {
    REMAPFS_INVARIANT(!settings.error().message.empty());
    return 0;
  }
  // What is passed on to the kernel is one option each, and none that is ours to decide.
  for (const std::string& option : settings->passed_on) {
    REMAPFS_INVARIANT(!option.empty());
    for (const char* ours : {"fd=", "rootmode=", "user_id=", "group_id=", "max_read=", "fsname=", "subtype="}) {
      REMAPFS_INVARIANT(!option.starts_with(ours));
    }
  }
  return 0;
}
