// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <ostream>
#include <string>

#include "cli/arguments.hpp"
#include "cli/importing.hpp"
#include "cli/map_view.hpp"
#include "cli/output.hpp"
#include "cli/progress.hpp"
#include "cli/status_view.hpp"
#include "cli/verbs.hpp"
#include "core/json.hpp"
#include "core/unique_fd.hpp"
#include "exchange/badblocks.hpp"
#include "exchange/csv.hpp"
#include "exchange/ddrescue.hpp"

namespace remapfs::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ImportArguments {
  std::string target;
  std::string file;
  std::string format;
  std::string block_size;
  std::string as;
  bool json = false;
};

// The arguments as they are meant.
struct Wishes {
  std::uint64_t unit = 0;  // 0: not given
  exchange::Damage damage = exchange::Damage::lost;
};

Result<Wishes> understand(const ImportArguments& arguments) {
  Wishes wishes;
  if (!arguments.block_size.empty()) {
    const auto unit = parse_size(arguments.block_size);
    if (!unit) return fail(unit.error());
    wishes.unit = *unit;
  }
  if (arguments.format == "badblocks") {
    if (wishes.unit == 0) {
      return fail(Errc::invalid,
                  "usage, a badblocks list does not tell its unit, give --block-size as badblocks was given -b");
    }
    if (!exchange::is_valid_list_unit(wishes.unit)) {
      return fail(Errc::invalid, "usage, not the unit of a badblocks list, give a multiple of 512 up to 1G");
    }
    if (arguments.as == "weak") wishes.damage = exchange::Damage::weak;
    return wishes;
  }
  if (!arguments.as.empty()) return fail(Errc::invalid, "usage, --as is for badblocks lists, the others tell it");
  if (arguments.format == "ddrescue" && wishes.unit != 0) {
    return fail(Errc::invalid, "usage, --block-size is not for ddrescue, whose map files are in bytes");
  }
  if (wishes.unit != 0 && !BlockGeometry::is_valid_block_size(wishes.unit)) {
    return fail(Errc::invalid, "usage, not a block size, give a power of two from 512 to 32K");
  }
  return wishes;
}

// What the list said.
struct Listed {
  std::uint64_t lines = 0;
  std::uint64_t places = 0;
  exchange::DamageList::Outside outside;
  std::uint64_t remapped_as_lost = 0;
  std::vector<ImportRun> runs;
};

// Reads and checks the whole list: nothing is imported of one that is wrong somewhere.
Result<Listed> read_list(const ImportArguments& arguments, const Wishes& wishes, const VolumeInfo& info, World& world) {
  const bool standard = arguments.file == "-";
  const std::string name = standard ? "standard input" : arguments.file;
  const auto cannot_read = [&](int error) {
    return Error{error == ENOENT ? Errc::not_found : Errc::device_other, error,
                 fmt::format("cannot read it, {} ({}), name a list to import", name, std::strerror(error))};
  };
  const UniqueFd opened(standard ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                                 : ::open(arguments.file.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat file {};
  if (!opened || ::fstat(opened.get(), &file) != 0) return fail(cannot_read(errno));

  const std::uint64_t size = S_ISREG(file.st_mode) ? static_cast<std::uint64_t>(file.st_size) : 0;
  Progress progress(world, "reading", size, Progress::Unit::bytes, arguments.json);
  std::uint64_t done = 0;
  const auto source = [&](std::span<char> buffer) -> Result<std::size_t> {
    ssize_t got = -1;
    do got = ::read(opened.get(), buffer.data(), buffer.size());
    while (got < 0 && errno == EINTR);
    if (got < 0) return fail(cannot_read(errno));
    progress.update(done += static_cast<std::uint64_t>(got));
    return static_cast<std::size_t>(got);
  };

  exchange::LineReader lines(source, name);
  exchange::DamageList list(info.size);
  Listed listed;
  Result<void> read;
  if (arguments.format == "badblocks") {
    read = exchange::read_badblocks(lines, wishes.unit, wishes.damage, list);
  } else if (arguments.format == "ddrescue") {
    read = exchange::read_ddrescue(lines, list);
  } else {
    const auto notes = exchange::read_csv(lines, wishes.unit != 0 ? wishes.unit : info.block_size, list);
    if (!notes) return fail(notes.error());
    listed.remapped_as_lost = notes->remapped_as_lost;
  }
  if (!read) return fail(read.error());
  listed.lines = lines.number();
  listed.places = list.places();
  listed.outside = list.outside();
  listed.runs = exchange::by_block(list.runs(), BlockGeometry(info.block_size));
  return listed;
}

void print_json(const ImportArguments& arguments, const Listed& listed, const ImportCounts& counts, std::ostream& out) {
  const Json result{{"json_format_version", 1},
                    {"format", arguments.format},
                    {"lines", listed.lines},
                    {"places", listed.places},
                    {"places_outside_disk", listed.outside.whole},
                    {"places_cut_at_end", listed.outside.in_part},
                    {"lost_blocks", counts.lost_blocks},
                    {"lost_sectors", counts.lost_sectors},
                    {"weak_blocks", counts.weak_blocks},
                    {"existing_blocks", counts.existing_blocks},
                    {"remapped_as_lost", listed.remapped_as_lost}};
  out << pretty(result);
}

std::string in_words(const ImportCounts& counts) {
  return fmt::format("{} blocks lost ({} sectors), {} weak; {} had an entry and kept it", counts.lost_blocks,
                     counts.lost_sectors, counts.weak_blocks, counts.existing_blocks);
}

void report_oddities(const Listed& listed, World& world) {
  if (listed.outside.whole != 0) {
    report_note(world, fmt::format("{} places are outside the disk, the first in line {}, check the unit and the disk",
                                   listed.outside.whole, listed.outside.first_line));
  }
  if (listed.remapped_as_lost != 0) {
    report_note(world,
                fmt::format("{} remapped blocks are lost here, their data is in slots of the volume they were exported "
                            "from, rewrite them",
                            listed.remapped_as_lost));
  }
}

int run_import(const ImportArguments& arguments, World& world) {
  const auto wishes = understand(arguments);
  if (!wishes) return report_error(world, wishes.error(), kExitUsage);
  const auto target = resolve_target(arguments.target, world);
  if (!target) return report_error(world, target.error());
  const auto info = read_map_info(target->map_path);
  if (!info) return report_error(world, info.error());
  auto listed = read_list(arguments, *wishes, *info, world);
  if (!listed) return report_error(world, listed.error());

  ImportCounts counts;
  if (listed->runs.empty()) {
    report_note(world, fmt::format("no damage inside the disk, {}, nothing to import", arguments.file));
  } else if (auto imported = import_into(*target, listed->runs, arguments.json, world, counts); !imported) {
    Error error = imported.error();
    if (counts != ImportCounts{}) error.message = fmt::format("{} (so far: {})", describe(error), in_words(counts));
    return report_error(world, error);
  }
  report_oddities(*listed, world);
  if (arguments.json) {
    print_json(arguments, *listed, counts, world.out);
  } else {
    world.out << "imported: " << in_words(counts) << '\n';
  }
  return kExitDone;
}

}  // namespace

void add_import(CLI::App& program, Invocation& invocation) {
  auto arguments = std::make_shared<ImportArguments>();
  CLI::App* const verb = program.add_subcommand("import", "Enter what other tools know of the primary's bad places");
  verb->add_option("TARGET", arguments->target, "Map, mount point, or the disk in it")->required();
  verb->add_option("FILE", arguments->file, "The list; - is standard input")->required();
  verb->add_option("--format", arguments->format, "badblocks, ddrescue or csv")
      ->required()
      ->check(CLI::IsMember({"badblocks", "ddrescue", "csv"}))
      ->type_name("FORMAT");
  verb->add_option("--block-size", arguments->block_size,
                   "Unit of a badblocks list, required there; of a CSV file that does not tell")
      ->type_name("SIZE");
  verb->add_option("--as", arguments->as, "What the blocks of a badblocks list become: lost (default) or weak")
      ->check(CLI::IsMember({"lost", "weak"}))
      ->type_name("STATE");
  verb->add_flag("-J,--json", arguments->json, "The result as JSON");
  verb->footer(
      "Blocks that have an entry keep it. Exactly the listed sectors become lost: they answer with an error until\n"
      "they are rewritten; retest looks whether they can be read after all. A list with a mistake is refused as a\n"
      "whole. An import that was interrupted is run again.\n\n"
      "Example:\n  badblocks -b 4096 /dev/sdb > sdb.bad\n"
      "  remapfs import /var/lib/old.remapfs --format badblocks --block-size 4096 sdb.bad");
  verb->callback([arguments, &invocation] { invocation.exit_code = run_import(*arguments, invocation.world); });
}

}  // namespace remapfs::cli
