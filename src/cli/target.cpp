// SPDX-License-Identifier: Apache-2.0
#include "cli/target.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <utility>

namespace remapfs::cli {
namespace {

Error path_error(const std::string& path, int error) {
  const Errc code = error == ENOENT || error == ENOTDIR ? Errc::not_found
                    : error == EACCES || error == EPERM ? Errc::permission
                                                        : Errc::invalid;
  const char* const advice = code == Errc::permission ? "check its permissions or use sudo" : "check the path";
  return {code, error, fmt::format("cannot find it, {} ({}), {}", path, std::strerror(error), advice)};
}

std::optional<std::string> real_path(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(path.c_str(), nullptr), &std::free);
  if (!resolved) return std::nullopt;
  return std::string(resolved.get());
}

// The last mount wins: it is the one on top.
template <class Matches>
std::optional<MountEntry> find_ours(const std::vector<MountEntry>& mounts, Matches&& matches) {
  const auto found = std::find_if(mounts.rbegin(), mounts.rend(),
                                  [&](const MountEntry& entry) { return entry.is_ours() && matches(entry); });
  if (found == mounts.rend()) return std::nullopt;
  return *found;
}

}  // namespace

Result<std::string> absolute_path(const std::string& text) {
  if (text.empty()) return fail(Errc::invalid, "empty path, no name was given, name a file");
  std::string trimmed = text;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  const std::size_t slash = trimmed.rfind('/');
  const std::string name = trimmed.substr(slash == std::string::npos ? 0 : slash + 1);
  if (name.empty() || name == "." || name == "..") {
    auto whole = real_path(trimmed);
    if (!whole) return fail(path_error(text, errno));
    return std::move(*whole);
  }
  const std::string folder = slash == std::string::npos ? "." : trimmed.substr(0, std::max<std::size_t>(slash, 1));
  const auto resolved = real_path(folder);
  if (!resolved) return fail(path_error(text, errno));
  return *resolved == "/" ? "/" + name : *resolved + "/" + name;
}

Result<std::string> existing_path(const std::string& text) {
  auto path = real_path(text);
  if (!path) return fail(path_error(text, errno));
  return std::move(*path);
}

Result<Target> resolve_target(const std::string& text, const World& world) {
  const auto mounts = all_mounts(world.views);
  const auto by_place = [&](const std::string& path) {
    return find_ours(mounts, [&](const MountEntry& entry) {
      const auto places = entry.possible_disk_paths();
      return std::find(places.begin(), places.end(), path) != places.end();
    });
  };

  // Places of mounts are compared as text first: asking a dead mount about itself only gives an error. The folder of
  // MOUNTPOINT/disk is such a mount, so that not even it may be resolved.
  std::string spelled = text;
  while (spelled.size() > 1 && spelled.back() == '/') spelled.pop_back();
  if (spelled.size() > 5 && spelled.ends_with("/disk")) {
    if (const auto folder = absolute_path(spelled.substr(0, spelled.size() - 5))) {
      if (auto mount = by_place(*folder + "/disk")) return Target{mount->source, std::move(mount)};
    }
  }
  const auto path = absolute_path(text);
  if (!path) return fail(path.error());
  if (auto mount = by_place(*path)) return Target{mount->source, std::move(mount)};

  // A link to any of these, or the map itself.
  const auto resolved = real_path(*path);
  if (!resolved) return fail(path_error(text, errno));
  if (auto mount = by_place(*resolved)) return Target{mount->source, std::move(mount)};
  struct stat info {};
  if (::stat(resolved->c_str(), &info) != 0) return fail(path_error(text, errno));
  if (!S_ISREG(info.st_mode)) {
    return fail(Errc::invalid,
                fmt::format("neither a map nor a mounted volume, {}, name a map, a mount point or its disk", text));
  }
  auto mount = find_ours(mounts, [&](const MountEntry& entry) { return entry.source == *resolved; });
  return Target{*resolved, std::move(mount)};
}

Result<void> check_unmounted(const Target& target) {
  if (!target.mount) return {};
  return fail(Errc::busy,
              fmt::format("the map is in use, {} (mounted at {}), unmount it, with --force if nobody serves "
                          "it any more",
                          target.map_path, target.mount->mount_point));
}

std::vector<Target> mounted_targets(const World& world) {
  std::vector<Target> targets;
  std::set<std::string> seen;
  for (MountEntry& mount : all_mounts(world.views)) {
    if (!mount.is_ours() || mount.owner != world.uid || !seen.insert(mount.source).second) continue;
    std::string source = mount.source;
    targets.push_back({std::move(source), std::move(mount)});
  }
  return targets;
}

}  // namespace remapfs::cli
