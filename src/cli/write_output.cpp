// SPDX-License-Identifier: Apache-2.0
#include "cli/write_output.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <fstream>
#include <ostream>
#include <string_view>

#include "cli/target.hpp"
#include "io/device_identity.hpp"

namespace remapfs::cli {
namespace {

// Whatever it is, nobody wants a list in its place; and not every map that must not be replaced is known here.
bool is_database(const std::string& path) {
  constexpr std::string_view kMagic = "SQLite format 3";
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
  std::string begin(kMagic.size(), '\0');
  std::ifstream file(path, std::ios::binary);
  return file.read(begin.data(), static_cast<std::streamsize>(begin.size())) && begin == kMagic;
}

}  // namespace

std::vector<std::string> paths_of(const VolumeInfo& info) {
  std::vector<std::string> paths{info.map_path, info.map_path + "-wal", info.map_path + "-shm", info.primary_path};
  for (const SpareInfo& spare : info.spares) paths.push_back(spare.path);
  return paths;
}

Result<void> write_output(const std::string& name, const std::vector<std::string>& ours, const WriteOutput& write,
                          Readers readers) {
  const auto path = absolute_path(name);
  if (!path) return fail(path.error());
  for (const std::string& member : ours) {
    if (!is_same_device(*path, member)) continue;
    return fail(Errc::exists, fmt::format("a part of the volume has this name, {}, name another file", *path));
  }
  if (is_database(*path)) {
    return fail(Errc::exists, fmt::format("a database is there, perhaps a map, {}, name another file", *path));
  }
  auto file = OutputFile::create(*path, readers);
  if (!file) return fail(file.error());
  if (auto written = write((*file)->stream()); !written) return written;
  return (*file)->commit();
}

}  // namespace remapfs::cli
