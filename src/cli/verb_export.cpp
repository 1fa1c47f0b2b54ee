// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "cli/arguments.hpp"
#include "cli/assemble.hpp"
#include "cli/map_view.hpp"
#include "cli/output.hpp"
#include "cli/reach.hpp"
#include "cli/verbs.hpp"
#include "cli/write_output.hpp"
#include "core/unique_fd.hpp"
#include "exchange/badblocks.hpp"
#include "exchange/csv.hpp"
#include "exchange/ddrescue.hpp"
#include "exchange/dm_table.hpp"

namespace remapfs::cli {
namespace {

struct ExportArguments {
  std::string target;
  std::string file;
  std::string format;
  std::string block_size;
};

// For a POSIX shell, on one line.
std::string shell_word(std::string_view text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || std::string_view("/._-+:@%").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (plain && !text.empty()) return std::string(text);
  std::string word = "'";
  for (const char c : one_line(text)) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

// Of a member, for a table of the device mapper.
struct DmMember {
  std::string variable;  // of the commands, for a file: it needs a loop device
  std::string path;
  std::string name;  // in the table
  std::uint32_t logical_block = kSectorSize;
};

DmMember dm_member(SpareId id, const std::string& path) {
  DmMember member{id == 0 ? "primary" : fmt::format("spare{}", id), path, {}};
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && S_ISBLK(info.st_mode)) {
    member.variable.clear();
    // Blanks separate the words of a table; the kernel takes one after a backslash as a part of the word.
    for (const char c : path)
      member.name += (c == ' ' || c == '\t' || c == '\\') ? std::string{'\\', c} : std::string{c};
    const UniqueFd device(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    int logical = 0;
    if (device && ::ioctl(device.get(), BLKSSZGET, &logical) == 0 && logical > 0) {
      member.logical_block = static_cast<std::uint32_t>(logical);
    }
  } else {
    member.name = fmt::format("@{}@", member.variable);
  }
  return member;
}

void write_dm_comments(const VolumeInfo& info, const std::vector<DmMember>& members, const std::string& table,
                       std::ostream& out) {
  const std::string name = "remapfs-" + info.uuid.substr(0, 8);
  std::string replace;
  std::string loops;
  out << fmt::format(
      "# Volume {} ({}) for the device mapper: {} sectors of 512 bytes.\n"
      "# The table is the map as it was when this was written. Make a new one after every mount by remapfs.\n"
      "# To use it, as root, while the volume is not mounted:\n",
      info.uuid, one_line(info.map_path), info.size.value() / kSectorSize);
  for (const DmMember& member : members) {
    if (member.variable.empty()) continue;
    out << fmt::format("#   {}=$(losetup --find --show {})\n", member.variable, shell_word(member.path));
    replace += fmt::format(" -e \"s|@{0}@|${0}|\"", member.variable);
    loops += fmt::format(" \"${}\"", member.variable);
  }
  if (replace.empty()) {
    out << fmt::format("#   dmsetup create {} {}\n", name, table);
  } else {
    out << fmt::format("#   sed{} {} | dmsetup create {}\n", replace, table, name);
  }
  out << fmt::format("# The disk is then /dev/mapper/{}. To end:\n#   dmsetup remove {}\n", name, name);
  if (!loops.empty()) out << fmt::format("#   losetup --detach{}\n", loops);
  out << "# Nobody remaps meanwhile: a block that goes bad there answers with errors, and the map does not learn of "
         "it.\n"
         "# Lost sectors are error targets: they can be neither read nor rewritten there. Everything else is read and\n"
         "# written at its place in the volume, so that remapfs can be mounted again afterwards, without more ado.\n";
}

Result<void> write_dm_table(const Target& target, const std::string& file, World& world, std::ostream& out) {
  const auto daemon = find_daemon(target, world);
  if (!daemon) return fail(daemon.error());
  if (*daemon) {
    return fail(Errc::busy,
                fmt::format("mounted, {}, unmount it first: two must not write one disk", (*daemon)->mount_point()));
  }
  // Opened as for a mount, so that whatever a mount would refuse is no table either; and kept until it is written.
  AssembleOptions how;
  how.read_only = true;
  how.views = world.views;
  const auto assembled = assemble(target.map_path, how);
  if (!assembled) return fail(assembled.error());
  const VolumeInfo& info = assembled->volume->info();
  const auto rows = read_rows(target.map_path);
  if (!rows) return fail(rows.error());

  std::vector<DmMember> members{dm_member(0, info.primary_path)};
  std::map<SpareId, std::string> devices{{SpareId{0}, members[0].name}};
  std::uint32_t logical_block = members[0].logical_block;
  for (const SpareInfo& spare : info.spares) {
    if (info.is_end_of_primary(spare)) {
      devices[spare.id] = members[0].name;
      continue;
    }
    members.push_back(dm_member(spare.id, spare.path));
    devices[spare.id] = members.back().name;
    logical_block = std::max(logical_block, members.back().logical_block);
  }
  write_dm_comments(info, members, file.empty() ? "TABLE" : shell_word(file), out);
  exchange::DmTable table(out, info, devices, logical_block);
  for (const MapRow& row : *rows) table.add(row.row);
  table.finish();
  if (table.figures().widened_sectors != 0) {
    report_note(world,
                fmt::format("{} readable sectors answer with an error there, their devices have blocks of {} bytes",
                            table.figures().widened_sectors, logical_block));
  }
  return {};
}

Result<void> write_csv(const std::vector<MapRow>& rows, const VolumeInfo& info, std::ostream& out) {
  exchange::write_csv_header(out);
  for (const MapRow& row : rows) {
    exchange::write_csv_row(row.row, BlockGeometry(info.block_size), row.created_at.data(), row.updated_at.data(), out);
  }
  return {};
}

Result<void> write_list(const std::vector<MapRow>& rows, const VolumeInfo& info, std::uint64_t unit,
                        std::ostream& out) {
  exchange::DamageList list(info.size);
  const bool badblocks = unit != 0;
  for (const MapRow& row : rows) {
    if (auto added = add_row(list, row.row, BlockGeometry(info.block_size), badblocks); !added) return added;
  }
  if (badblocks) {
    exchange::write_badblocks(list.runs(), unit, out);
  } else {
    exchange::write_ddrescue(list.runs(), info.size, out);
  }
  return {};
}

// Errors: invalid. 0: not given.
Result<std::uint64_t> list_unit(const ExportArguments& arguments) {
  if (arguments.block_size.empty()) return 0;
  if (arguments.format != "badblocks")
    return fail(Errc::invalid, "usage, --block-size is for badblocks lists, the others tell their unit");
  auto unit = parse_size(arguments.block_size);
  if (!unit || exchange::is_valid_list_unit(*unit)) return unit;
  return fail(Errc::invalid, "usage, not the unit of a badblocks list, give a multiple of 512 up to 1G");
}

int run_export(const ExportArguments& arguments, World& world) {
  const auto unit = list_unit(arguments);
  if (!unit) return report_error(world, unit.error(), kExitUsage);
  const auto target = resolve_target(arguments.target, world);
  if (!target) return report_error(world, target.error());
  const auto info = read_map_info(target->map_path);
  if (!info) return report_error(world, info.error());

  const std::string file = arguments.file == "-" ? "" : arguments.file;
  const WriteOutput write = [&](std::ostream& out) -> Result<void> {
    if (arguments.format == "dmsetup") return write_dm_table(*target, file, world, out);
    const auto rows = read_rows(target->map_path);
    if (!rows) return fail(rows.error());
    if (arguments.format == "csv") return write_csv(*rows, *info, out);
    const bool badblocks = arguments.format == "badblocks";
    return write_list(*rows, *info, badblocks && *unit == 0 ? info->block_size : *unit, out);
  };
  const auto written = file.empty() ? write(world.out) : write_output(file, paths_of(*info), write);
  return written ? kExitDone : report_error(world, written.error());
}

}  // namespace

void add_export(CLI::App& program, Invocation& invocation) {
  auto arguments = std::make_shared<ExportArguments>();
  CLI::App* const verb = program.add_subcommand("export", "Write the map in the format of another tool");
  verb->add_option("TARGET", arguments->target, "Map, mount point, or the disk in it")->required();
  verb->add_option("FILE", arguments->file, "Where to; standard output when it is - or not given");
  verb->add_option("--format", arguments->format, "badblocks, ddrescue, dmsetup or csv")
      ->required()
      ->check(CLI::IsMember({"badblocks", "ddrescue", "dmsetup", "csv"}))
      ->type_name("FORMAT");
  verb->add_option("--block-size", arguments->block_size, "Unit of a badblocks list; default: the volume's block")
      ->type_name("SIZE");
  verb->footer(
      "badblocks: every place with an entry. ddrescue: lost sectors are -, weak blocks /, the rest +.\n"
      "dmsetup: the volume as a table for the device mapper, with the commands to use it; not while mounted.\n"
      "FILE is replaced as a whole, or not at all.\n\n"
      "Example:\n  remapfs export /mnt/old --format ddrescue old.mapfile");
  verb->callback([arguments, &invocation] { invocation.exit_code = run_export(*arguments, invocation.world); });
}

}  // namespace remapfs::cli
