// SPDX-License-Identifier: Apache-2.0
#include "cli/mount_entry.hpp"

#include <algorithm>

#include "io/proc_files.hpp"

namespace remapfs::cli {
namespace {

uid_t owner_of(std::string_view super_options) {
  constexpr std::string_view kKey = "user_id=";
  for (const std::string_view option : split(super_options, ',')) {
    if (!option.starts_with(kKey)) continue;
    return static_cast<uid_t>(parse_decimal(option.substr(kKey.size())).value_or(0));
  }
  return 0;
}

}  // namespace

std::optional<MountEntry> parse_mount_entry(std::string_view line) {
  // ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [TAG...] - TYPE SOURCE SUPEROPTIONS
  const auto fields = split(line, ' ');
  const auto dash = std::find(fields.begin(), fields.end(), "-");
  if (dash - fields.begin() < 6 || fields.end() - dash < 3) return std::nullopt;
  MountEntry entry;
  entry.device = fields[2];
  entry.mount_point = unescape_octal(fields[4]);
  entry.type = unescape_octal(dash[1]);
  entry.source = unescape_octal(dash[2]);
  if (fields.end() - dash > 3) entry.owner = owner_of(dash[3]);
  return entry;
}

std::vector<MountEntry> all_mounts(const KernelViews& views) {
  std::vector<MountEntry> mounts;
  const auto text = read_text_file(views.proc + "/self/mountinfo");
  if (!text) return mounts;
  for (const std::string_view line : split(*text, '\n')) {
    if (auto entry = parse_mount_entry(line)) mounts.push_back(std::move(*entry));
  }
  return mounts;
}

}  // namespace remapfs::cli
