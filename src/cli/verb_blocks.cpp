// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "cli/arguments.hpp"
#include "cli/block_command.hpp"
#include "cli/map_view.hpp"
#include "cli/output.hpp"
#include "cli/verbs.hpp"

namespace remapfs::cli {
namespace {

struct BlockArguments {
  std::string target;
  std::vector<std::string> blocks;
};

// Every block that has an entry, neighbours joined.
Result<std::vector<BlockRange>> blocks_with_entries(const std::string& map_path) {
  const auto rows = read_rows(map_path);
  if (!rows) return fail(rows.error());
  std::vector<BlockRange> ranges;
  for (const MapRow& row : *rows) {
    if (!ranges.empty() && ranges.back().end == row.row.block) {
      ++ranges.back().end;
    } else {
      ranges.push_back({row.row.block, row.row.block + 1});
    }
  }
  return ranges;
}

int run_verb(Verb verb, const BlockArguments& arguments, World& world) {
  auto ranges = parse_blocks(arguments.blocks);
  if (!ranges) return report_error(world, ranges.error(), kExitUsage);
  const auto target = resolve_target(arguments.target, world);
  if (!target) return report_error(world, target.error());
  if (ranges->empty()) {
    ranges = blocks_with_entries(target->map_path);
    if (!ranges) return report_error(world, ranges.error());
    if (ranges->empty()) {
      report_note(world, fmt::format("no entries, {}, nothing to {}", target->map_path, to_string(verb)));
      return kExitDone;
    }
  }
  return run_block_verb(*target, verb, *ranges, world);
}

void add_verb(CLI::App& program, Invocation& invocation, Verb verb, const std::string& description,
              const std::string& blocks_help, const std::string& footer) {
  auto arguments = std::make_shared<BlockArguments>();
  CLI::App* const added = program.add_subcommand(std::string(to_string(verb)), description);
  added->add_option("TARGET", arguments->target, "Map, mount point, or the disk in it")->required();
  CLI::Option* const blocks = added->add_option("BLOCK", arguments->blocks, blocks_help);
  if (verb != Verb::retest) blocks->required();
  added->footer(footer);
  added->callback(
      [verb, arguments, &invocation] { invocation.exit_code = run_verb(verb, *arguments, invocation.world); });
}

}  // namespace

void add_block_verbs(CLI::App& program, Invocation& invocation) {
  const std::string blocks = "Numbers (17, 0x11) or ranges (16-31, both ends included)";
  add_verb(program, invocation, Verb::add, "Move blocks to the spare now, data kept", blocks,
           "Refused for blocks with lost sectors: there is no whole data to keep.\n\n"
           "Example:\n  remapfs add /mnt/old 4711 0x2000-0x200f");
  add_verb(program, invocation, Verb::remove, "Copy blocks back to the primary, verify, free their slots", blocks,
           "Refused for blocks with lost sectors; an entry stays when the primary still fails.\n\n"
           "Example:\n  remapfs remove /mnt/old 4711");
  add_verb(program, invocation, Verb::retest, "Read blocks again where their data is",
           blocks + "; every block with an entry when none is given",
           "Lost sectors that can be read become valid, weak blocks that read well lose their entry.\n"
           "What still cannot be read is reported and is no failure of the command.\n\n"
           "Example:\n  remapfs retest /mnt/old");
  add_verb(program, invocation, Verb::mark_lost, "Let blocks answer with an error until they are rewritten", blocks,
           "A slot is kept.\n\nExample:\n  remapfs mark-lost /mnt/old 100-199");
  add_verb(program, invocation, Verb::clear_lost, "Make lost sectors valid that can be read again", blocks,
           "Reads only the place that holds the data. Exit code 2 when a block still cannot be read.\n\n"
           "Example:\n  remapfs clear-lost /mnt/old 100-199");
}

}  // namespace remapfs::cli
