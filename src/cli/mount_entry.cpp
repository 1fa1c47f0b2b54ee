// SPDX-License-Identifier: Apache-2.0
#include "cli/mount_entry.hpp"

#include <fmt/format.h>

#include <utility>

#include "fuse/mount_table.hpp"
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
  auto parsed = fuse::parse_mount_line(line);
  if (!parsed) return std::nullopt;
  MountEntry entry;
  entry.device = fmt::format("{}:{}", parsed->device_major, parsed->device_minor);
  entry.mount_point = std::move(parsed->mount_point);
  entry.type = std::move(parsed->type);
  entry.source = std::move(parsed->source);
  entry.owner = owner_of(parsed->super_options);
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
