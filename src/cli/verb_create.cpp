// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>
#include <string>

#include "cli/arguments.hpp"
#include "cli/creation.hpp"
#include "cli/output.hpp"
#include "cli/verbs.hpp"

namespace remapfs::cli {
namespace {

struct CreateArguments {
  std::string map;
  std::string primary;
  std::string spare;
  std::string spare_size;
  std::string reserve;
  std::string block_size;
  std::string label;
  bool force = false;
};

Result<CreationWish> wish_of(const CreateArguments& arguments) {
  CreationWish wish{.map = arguments.map,
                    .primary = arguments.primary,
                    .spare = arguments.spare,
                    .spare_size = {},
                    .reserve = {},
                    .block_size = {},
                    .label = arguments.label,
                    .force = arguments.force};
  if (!arguments.spare_size.empty()) {
    const auto size = parse_size(arguments.spare_size);
    if (!size) return fail(size.error());
    wish.spare_size = ByteCount(*size);
  }
  if (!arguments.reserve.empty()) {
    const auto size = parse_size(arguments.reserve);
    if (!size) return fail(size.error());
    wish.reserve = ByteCount(*size);
  }
  if (!arguments.block_size.empty()) {
    const auto size = parse_size(arguments.block_size);
    if (!size) return fail(size.error());
    if (!BlockGeometry::is_valid_block_size(*size)) {
      return fail(Errc::invalid, fmt::format("not a block size, {}, use a power of two from {} to {}",
                                             arguments.block_size, kMinBlockSize, kMaxBlockSize));
    }
    wish.block_size = *size;
  }
  if (one_line(arguments.label) != arguments.label) {
    return fail(Errc::invalid, "label has control characters or ends in a space, --label, use plain text");
  }
  return wish;
}

int run_create(const CreateArguments& arguments, World& world) {
  const auto wish = wish_of(arguments);
  if (!wish) return report_error(world, wish.error(), kExitUsage);
  const auto created = create(*wish, world);
  if (!created) {
    return report_error(world, created.error().error, created.error().usage ? kExitUsage : kExitCouldNot);
  }
  for (const std::string& warning : created->warnings) report_note(world, warning);
  const VolumeInfo& info = created->info;
  const BlockGeometry blocks(info.block_size);
  world.out << fmt::format("created {}: volume {}, {} in {} blocks of {}\n", info.map_path, info.uuid,
                           human_size(info.size.value()), blocks.blocks_in(info.size), human_size(info.block_size));
  for (const SpareInfo& spare : info.spares) {
    world.out << fmt::format(
        "spare {}{}: {} slots ({})\n", spare.path,
        spare.begin == ByteOffset(0) ? "" : fmt::format(" from {} on", human_size(spare.begin.value())), spare.slots,
        human_size(spare.slots * info.block_size));
  }
  return kExitDone;
}

}  // namespace

void add_create(CLI::App& program, Invocation& invocation) {
  auto arguments = std::make_shared<CreateArguments>();
  CLI::App* const verb = program.add_subcommand("create", "Make a volume of a primary and a spare");
  verb->add_option("MAP", arguments->map, "File for the map; must not exist")->required();
  verb->add_option("--primary", arguments->primary, "The disk or image to keep in use; its contents stay")
      ->type_name("PATH")
      ->required();
  verb->add_option("--spare", arguments->spare, "File or device for the blocks that go bad; overwritten")
      ->type_name("PATH");
  verb->add_option("--spare-size", arguments->spare_size, "Make the spare, a file of this size, fully allocated")
      ->type_name("SIZE");
  verb->add_option("--reserve", arguments->reserve,
                   "Instead of --spare: so much of the primary's end; the volume is that much smaller")
      ->type_name("SIZE");
  verb->add_option("--block-size", arguments->block_size,
                   "Unit of remapping, 512 to 32768; default the larger of 4096 and the primary's physical block")
      ->type_name("N");
  verb->add_option("--label", arguments->label, "A name for people")->type_name("TEXT");
  verb->add_flag("--force", arguments->force,
                 "Overwrite a spare, or the end of a primary, that carries a file system or belongs to another volume; "
                 "never an existing map");
  verb->footer(
      "Sizes take K, M, G, T. The primary may be in use by nobody else from now on.\n\n"
      "Example:\n  remapfs create /var/lib/old.remapfs --primary /dev/sdb --spare /srv/old.spare --spare-size 1G\n"
      "  remapfs create /var/lib/one.remapfs --primary /dev/sdb --reserve 4G");
  verb->callback([arguments, &invocation] {
    if (arguments->spare.empty() == arguments->reserve.empty()) {
      throw CLI::ValidationError("one of --spare and --reserve is needed");
    }
    if (!arguments->reserve.empty() && !arguments->spare_size.empty()) {
      throw CLI::ValidationError("--spare-size belongs to --spare");
    }
    invocation.exit_code = run_create(*arguments, invocation.world);
  });
}

}  // namespace remapfs::cli
