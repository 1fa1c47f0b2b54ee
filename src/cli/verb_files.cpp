// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "cli/assemble.hpp"
#include "cli/held_signals.hpp"
#include "cli/map_view.hpp"
#include "cli/mount_request.hpp"
#include "cli/output.hpp"
#include "cli/reach.hpp"
#include "cli/run_program.hpp"
#include "cli/salvage_view.hpp"
#include "cli/status_view.hpp"
#include "cli/table.hpp"
#include "cli/verbs.hpp"
#include "core/json.hpp"
#include "core/unique_fd.hpp"
#include "owners/ext_owners.hpp"
#include "owners/find_file_systems.hpp"
#include "owners/xfs_owners.hpp"

namespace remapfs::cli {
namespace {

using Json = nlohmann::ordered_json;
using owners::Content;
using owners::FileSystem;
using owners::Owner;
using owners::SectorRun;

struct FilesArguments {
  std::string target;
  bool json = false;
};

// A terabyte of XFS takes xfs_db seconds, and a gigabyte of memory when it is full.
constexpr std::chrono::minutes kXfsPatience{10};
constexpr std::size_t kXfsOutput = std::size_t{64} << 20U;
constexpr std::uint64_t kMostSectors = 1'000'000;

// The sectors of the disk that cannot be read. Errors: those of reading the map; unsupported: there are too many.
Result<std::vector<SectorRun>> lost_sectors(const std::string& map_path, const VolumeInfo& info) {
  const auto rows = read_rows(map_path);
  if (!rows) return fail(rows.error());
  const BlockGeometry blocks(info.block_size);
  std::vector<SectorRun> runs;
  std::uint64_t count = 0;
  for (const MapRow& row : *rows) {
    const std::uint64_t first = blocks.begin_of(row.row.block).value() / kSectorSize;
    const std::uint64_t inside = std::min(info.block_size / kSectorSize, info.size.value() / kSectorSize - first);
    for (std::uint64_t i = 0; i < inside; ++i) {
      if ((row.row.valid_mask >> i & 1U) != 0) continue;
      if (!runs.empty() && runs.back().first + runs.back().count == first + i) {
        ++runs.back().count;
      } else {
        runs.push_back({first + i, 1});
      }
      ++count;
    }
    if (count > kMostSectors) {
      return fail(Errc::unsupported, fmt::format("more than {} sectors are lost, {}, copy the disk and repair the file "
                                                 "systems of the copy",
                                                 kMostSectors, map_path));
    }
  }
  return runs;
}

// What of the runs lies in the range, cut at its ends.
std::vector<SectorRun> inside(const std::vector<SectorRun>& runs, ByteRange range) {
  const std::uint64_t begin = range.begin.value() / kSectorSize;
  const std::uint64_t end = range.end.value() / kSectorSize;
  std::vector<SectorRun> some;
  for (const SectorRun& run : runs) {
    const std::uint64_t from = std::max(run.first, begin);
    const std::uint64_t to = std::min(run.first + run.count, end);
    if (from < to) some.push_back({from, to - from});
  }
  return some;
}

std::vector<Owner> all_of(const std::vector<SectorRun>& runs, const FileSystem& where, Content content,
                          const std::string& what) {
  std::vector<Owner> all;
  for (const SectorRun& run : runs) {
    Owner& owner = all.emplace_back();
    owner.first = run.first;
    owner.count = run.count;
    owner.content = content;
    owner.partition = where.partition;
    owner.file_system = where.type;
    owner.what = what;
  }
  return all;
}

// What lies in no partition.
std::vector<Owner> outside_of(const std::vector<SectorRun>& runs, const std::vector<FileSystem>& systems) {
  std::vector<Owner> owners;
  for (const SectorRun& run : runs) {
    for (std::uint64_t sector = run.first; sector < run.first + run.count; ++sector) {
      const ByteOffset at(sector * kSectorSize);
      const bool in_one = std::any_of(systems.begin(), systems.end(), [&](const FileSystem& one) {
        return one.range.begin <= at && at < one.range.end;
      });
      if (in_one) continue;
      Owner& owner = owners.emplace_back();
      owner.first = sector;
      owner.count = 1;
      owner.content = Content::outside;
    }
  }
  return owners::merged(std::move(owners));
}

class OwnerSearch {
 public:
  OwnerSearch(SalvageView::Read read, ByteCount size, World& world)
      : read_(std::move(read)), size_(size), world_(world) {}

  Result<std::vector<Owner>> find(const std::vector<SectorRun>& runs) {
    std::vector<Owner> owners;
    std::vector<FileSystem> systems;
    {
      const auto view = SalvageView::make(read_, {ByteOffset(0), ByteOffset(size_.value())});
      if (!view) return fail(view.error());
      const UniqueFd disk(::open((*view)->path().c_str(), O_RDONLY | O_CLOEXEC));
      if (!disk) return fail(Errc::device_other, "the disk cannot be looked at", errno);
      auto found = owners::find_file_systems(disk.get(), size_);
      if (!found) return fail(found.error());
      systems = std::move(*found);
      for (const FileSystem& system : systems) {
        if (system.type == "ext2" || system.type == "ext3" || system.type == "ext4") {
          const auto here = inside(runs, system.range);
          if (!here.empty()) take(owners, system, here, owners::ext_owners((*view)->path(), system, here));
        }
      }
    }
    for (const FileSystem& system : systems) {
      const auto here = inside(runs, system.range);
      if (here.empty() || system.type.starts_with("ext")) continue;
      if (system.type == "xfs") {
        take(owners, system, here, ask_xfs(system, here));
      } else {
        append(owners,
               all_of(here, system, Content::unknown,
                      system.type.empty() ? "no file system that is known" : "files of this kind are not looked up"));
      }
    }
    append(owners, outside_of(runs, systems));
    std::sort(owners.begin(), owners.end(), [](const Owner& a, const Owner& b) { return a.first < b.first; });
    return owners;
  }

 private:
  static void append(std::vector<Owner>& all, std::vector<Owner> some) {
    std::move(some.begin(), some.end(), std::back_inserter(all));
  }

  // That one file system cannot be looked at keeps no other from it.
  void take(std::vector<Owner>& all, const FileSystem& system, const std::vector<SectorRun>& runs,
            Result<std::vector<Owner>> found) {
    if (found) return append(all, std::move(*found));
    append(all, all_of(runs, system, Content::unknown, describe(found.error())));
  }

  Result<std::vector<Owner>> ask_xfs(const FileSystem& system, const std::vector<SectorRun>& runs) {
    const auto view = SalvageView::make(read_, system.range);
    if (!view) return fail(view.error());
    return owners::xfs_owners(system, runs, [&](const std::string& commands) -> Result<std::string> {
      auto output = run_program({"xfs_db", "-r", "-f", (*view)->path()}, world_.program_path, commands,
                                {kXfsPatience, kXfsOutput});
      if (!output && output.error().code == Errc::not_found) {
        return fail(Errc::not_found, "xfs_db is not installed: install xfsprogs");
      }
      if (!output) return fail(output.error());
      return std::move(output->out);
    });
  }

  const SalvageView::Read read_;
  const ByteCount size_;
  World& world_;
};

Result<void> read_fully(int descriptor, ByteOffset offset, std::span<std::byte> buffer) {
  for (std::size_t done = 0; done < buffer.size();) {
    const ssize_t count =
        ::pread(descriptor, buffer.data() + done, buffer.size() - done, static_cast<off_t>(offset.value() + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return fail(Errc::media, count < 0 ? errno : EIO);
    done += static_cast<std::size_t>(count);
  }
  return {};
}

// Errors: those of reading the map, of opening the volume or its disk, and of the views.
Result<std::vector<Owner>> find_owners(const Target& target, World& world) {
  const auto info = read_map_info(target.map_path);
  if (!info) return fail(info.error());
  const auto runs = lost_sectors(target.map_path, *info);
  if (!runs) return fail(runs.error());
  if (runs->empty()) return std::vector<Owner>();
  const auto daemon = find_daemon(target, world);
  if (!daemon) return fail(daemon.error());
  if (*daemon) {
    // Nobody could tell what is lost from what only does not answer.
    if ((*daemon)->suspended()) {
      return fail(Errc::suspended,
                  fmt::format("a device does not work, {}, put that right and run remapfs resume first",
                              (*daemon)->mount_point()));
    }
    const auto path = open_served_disk((*daemon)->mount_point());
    if (!path) return fail(path.error());
    const UniqueFd disk(::open(path->c_str(), O_RDONLY | O_CLOEXEC));
    if (!disk) return fail(Errc::device_other, fmt::format("cannot open the disk, {}, try again", *path), errno);
    const auto read = [&](ByteOffset offset, std::span<std::byte> buffer) {
      return read_fully(disk.get(), offset, buffer);
    };
    return OwnerSearch(read, info->size, world).find(*runs);
  }
  AssembleOptions how;
  how.read_only = true;
  how.views = world.views;
  const auto assembled = assemble(target.map_path, how);
  if (!assembled) return fail(assembled.error());
  const auto read = [&](ByteOffset offset, std::span<std::byte> buffer) -> Result<void> {
    const auto done = assembled->volume->read(offset, buffer);
    if (!done) return fail(done.error());
    return *done == buffer.size() ? Result<void>() : fail(Errc::past_end);
  };
  auto found = OwnerSearch(read, info->size, world).find(*runs);
  if (auto closed = assembled->volume->close(); !closed) return fail(closed.error());
  return found;
}

Json json_of(const Owner& owner) {
  const auto text = [](const std::string& value) { return value.empty() ? Json() : Json(value); };
  return {{"first_sector", owner.first},
          {"sectors", owner.count},
          {"partition", owner.partition == 0 ? Json() : Json(owner.partition)},
          {"file_system", text(owner.file_system)},
          {"content", to_string(owner.content)},
          {"path", text(owner.path)},
          {"inode", owner.inode == 0 ? Json() : Json(owner.inode)},
          {"offset", owner.offset ? Json(*owner.offset) : Json()},
          {"detail", text(owner.what)}};
}

void print_table(const std::vector<Owner>& owners, std::ostream& out) {
  Table table({{"SECTOR", true},
               {"COUNT", true},
               {"PART", true},
               {"TYPE"},
               {"CONTENT"},
               {"OFFSET", true},
               {"PATH"},
               {"DETAIL"}},
              true);
  for (const Owner& owner : owners) {
    std::string path = one_line(owner.path);
    if (path.empty() && owner.inode != 0) path = fmt::format("inode {}", owner.inode);
    table.add_row({std::to_string(owner.first), std::to_string(owner.count),
                   owner.partition == 0 ? "" : std::to_string(owner.partition), owner.file_system,
                   std::string(to_string(owner.content)), owner.offset ? std::to_string(*owner.offset) : "", path,
                   one_line(owner.what)});
  }
  out << table.render();
}

int run_files(const FilesArguments& arguments, World& world) {
  const auto target = resolve_target(arguments.target, world);
  if (!target) return report_error(world, target.error());
  // The views are taken down in any case.
  HeldSignals signals;
  const auto owners = find_owners(*target, world);
  if (!owners) return report_error(world, owners.error());
  if (signals.take()) return report_error(world, "interrupted, nothing was changed, ask again");
  if (arguments.json) {
    Json list = Json::array();
    for (const Owner& owner : *owners) list.push_back(json_of(owner));
    world.out << pretty(Json{{"json_format_version", 1}, {"lost", std::move(list)}});
    return kExitDone;
  }
  if (owners->empty()) {
    report_note(world, "no sector is lost");
  } else {
    print_table(*owners, world.out);
  }
  return kExitDone;
}

}  // namespace

void add_files(CLI::App& program, Invocation& invocation) {
  auto arguments = std::make_shared<FilesArguments>();
  CLI::App* const verb = program.add_subcommand("files", "Tell which files lost sectors belong to");
  verb->add_option("TARGET", arguments->target, "Map, mount point, or the disk in it")->required();
  verb->add_flag("-J,--json", arguments->json, "As JSON");
  verb->footer(
      "Looks at ext2, ext3, ext4 and XFS (with xfs_db of xfsprogs), directly on the disk or in its partitions, and "
      "only\n"
      "reads. XFS has to have been unmounted in order. Rewrite or restore the files that are named: a lost sector is\n"
      "good again once it is written.\n\n"
      "Example:\n  remapfs files /mnt/old");
  verb->callback([arguments, &invocation] { invocation.exit_code = run_files(*arguments, invocation.world); });
}

}  // namespace remapfs::cli
