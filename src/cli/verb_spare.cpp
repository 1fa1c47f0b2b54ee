// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>

#include "cli/arguments.hpp"
#include "cli/held_signals.hpp"
#include "cli/map_view.hpp"
#include "cli/output.hpp"
#include "cli/progress.hpp"
#include "cli/reach.hpp"
#include "cli/spare_device.hpp"
#include "cli/status_view.hpp"
#include "cli/table.hpp"
#include "cli/target.hpp"
#include "cli/verbs.hpp"
#include "cli/with_volume.hpp"
#include "core/json.hpp"
#include "io/posix_device.hpp"
#include "store/new_spare.hpp"

namespace remapfs::cli {
namespace {

using Json = nlohmann::ordered_json;

struct SpareArguments {
  std::string target;
  std::string action;
  std::string what;  // a path, or a number
  std::string size;
  bool force = false;
  bool json = false;
};

int wrong_use(World& world, std::string_view what) {
  return report_error(world, fmt::format("usage, {}, see remapfs spare --help", what), kExitUsage);
}

// --- list ---

int list_spares(const SpareArguments& arguments, const Target& target, World& world) {
  const auto status = status_of(target, world);
  if (!status) return report_error(world, status.error());
  Json spares = Json::array();
  for (const Json& device : (*status)["devices"]) {
    if (device["role"] == "spare") spares.push_back(device);
  }
  if (arguments.json) {
    const Json all{{"json_format_version", 1}, {"spares", std::move(spares)}};
    world.out << pretty(all);
    return kExitDone;
  }
  Table table({{"ID", true}, {"PATH"}, {"SLOTS", true}, {"FREE", true}, {"RETIRED", true}, {"NOTE"}}, true);
  for (const Json& spare : spares) {
    table.add_row({text_of(spare["id"]), text_of(spare["path"]), text_of(spare["slots"]), text_of(spare["slots_free"]),
                   text_of(spare["slots_retired"]), note_of_device(spare)});
  }
  world.out << table.render();
  return kExitDone;
}

// --- add ---

Result<void> join(const Target& target, const std::optional<Daemon>& daemon, const std::string& path, World& world) {
  if (!daemon) {
    return with_volume(target.map_path, world, [&](Volume& volume) -> Result<void> {
      auto spare = open_prepared_spare(path, volume.info(), world.views);
      if (!spare) return fail(spare.error());
      spare->alone = true;
      return volume.add_spare(std::move(*spare));
    });
  }
  auto client = daemon->connect();
  if (!client) return fail(client.error());
  Request request;
  request.verb = Verb::spare_add;
  request.path = path;
  const auto completion = client->ask(request);
  if (!completion) return fail(completion.error());
  if (!completion->result) return fail(completion->result.error());
  return {};
}

// The volume has said no, or was never asked. Anything else leaves open whether it has taken the spare.
bool is_refusal(const Error& error) {
  return error.code != Errc::timeout && error.code != Errc::device_other && error.code != Errc::commit_unknown &&
         error.code != Errc::interrupted;
}

// A spare that was refused is nobody's: it goes away as a file that was made, and is wiped otherwise.
void forget(const Target& target, const SpareInfo& prepared, SpareDevice& spare, World& world) {
  DeviceOptions how;
  how.views = world.views;
  const auto device = open_device(prepared.path, how);
  // Somebody has it after all: so has the map, or will have.
  const auto info = read_map_info(target.map_path);
  const auto joined = [&](const SpareInfo& one) { return one.uuid == prepared.uuid; };
  if (!device || !info || std::any_of(info->spares.begin(), info->spares.end(), joined)) {
    spare.file.keep();
    return;
  }
  if (spare.file.made()) return;
  store::wipe_superblocks(**device, store::SpareLayout::of((*device)->geometry().size, info->block_size));
}

int add_one(const SpareArguments& arguments, std::optional<ByteCount> size, const Target& target, World& world) {
  SpareWish wish;
  wish.size = size;
  const auto path = absolute_path(arguments.what);
  if (!path) return report_error(world, path.error());
  const auto info = read_map_info(target.map_path);
  if (!info) return report_error(world, info.error());
  wish.path = *path;
  wish.size_option = "--size";
  wish.block_size = info->block_size;
  wish.force = arguments.force;
  wish.volume = info->uuid;
  for (const SpareInfo& spare : info->spares) wish.members.push_back(spare.uuid);
  auto former = former_spares(target.map_path);
  if (!former) return report_error(world, former.error());
  wish.former = std::move(*former);
  wish.apart.push_back(info->primary_path);
  for (const SpareInfo& spare : info->spares) wish.apart.push_back(spare.path);

  const HeldSignals signals;
  const auto daemon = find_daemon(target, world);
  if (!daemon) return report_error(world, daemon.error());
  if (*daemon) {
    auto apart = check_stands_apart(*path, "spare", (*daemon)->mount_point(), world.views);
    if (!apart) return report_error(world, apart.error());
  }
  auto spare = open_spare_device(wish, world);
  if (!spare) return report_error(world, spare.error().error, spare.error().usage ? kExitUsage : kExitCouldNot);
  const auto prepared = prepare_spare(target.map_path, *info, *spare);
  if (!prepared) return report_error(world, prepared.error());
  // The volume opens it for itself, alone.
  spare->device.reset();
  if (auto joined = join(target, *daemon, *path, world); !joined) {
    if (is_refusal(joined.error())) {
      forget(target, *prepared, *spare, world);
    } else {
      spare->file.keep();
      report_note(world, fmt::format("whether the spare was taken is not known, {}, see remapfs spare {} list", *path,
                                     arguments.target));
    }
    return report_error(world, joined.error());
  }
  spare->file.keep();
  world.out << fmt::format("spare {}, {}: {} slots ({})\n", prepared->id, prepared->path, prepared->slots,
                           human_size(prepared->slots * info->block_size));
  return kExitDone;
}

// --- retire ---

Result<void> retire(SpareId id, const Target& target, const std::optional<Daemon>& daemon, World& world,
                    const std::function<void(BlockIndex)>& moved) {
  if (!daemon) {
    HeldSignals signals;
    return with_volume(target.map_path, world, [&](Volume& volume) {
      return volume.retire_spare(id, [&](BlockIndex block) {
        moved(block);
        return !signals.take();
      });
    });
  }
  auto client = daemon->connect();
  if (!client) return fail(client.error());
  Request request;
  request.verb = Verb::spare_retire;
  request.spare = id;
  const auto completion = client->ask(request, [&](const BlockReport& report) { moved(report.block); });
  if (!completion) return fail(completion.error());
  if (!completion->result) return fail(completion->result.error());
  return {};
}

int retire_one(const SpareArguments& arguments, unsigned id, const Target& target, World& world) {
  const auto status = status_of(target, world);
  if (!status) return report_error(world, status.error());
  std::uint64_t used = 0;
  std::string path;
  const std::string primary = text_of((*status)["devices"].at(0)["path"]);
  for (const Json& device : (*status)["devices"]) {
    if (device["id"] != id || device["slots_free"].is_null()) continue;
    used = device["slots"].get<std::uint64_t>() - device["slots_retired"].get<std::uint64_t>() -
           device["slots_free"].get<std::uint64_t>();
    path = text_of(device["path"]);
  }
  const auto daemon = find_daemon(target, world);
  if (!daemon) return report_error(world, daemon.error());
  std::uint64_t moved = 0;
  Result<void> retired;
  {
    Progress progress(world, "moving", used, Progress::Unit::blocks, arguments.json);
    retired = retire(static_cast<SpareId>(id), target, *daemon, world, [&](BlockIndex) { progress.update(++moved); });
  }
  if (!retired) {
    Error error = retired.error();
    if (moved != 0) error.message = fmt::format("{} ({} of its blocks have moved)", describe(error), moved);
    return report_error(world, error);
  }
  if (arguments.json) {
    world.out << pretty(Json{{"json_format_version", 1}, {"retired", id}, {"moved_blocks", moved}});
  } else {
    world.out << fmt::format("spare {} has left the volume, {} blocks moved; {} {}\n", id, moved, one_line(path),
                             path == primary ? "is only the primary now" : "can be taken away");
  }
  return kExitDone;
}

int run_spare(const SpareArguments& arguments, World& world) {
  const bool adds = arguments.action == "add";
  const bool lists = arguments.action == "list";
  if (lists && !arguments.what.empty()) return wrong_use(world, "list takes nothing more");
  if (!lists && arguments.what.empty()) return wrong_use(world, adds ? "add needs a PATH" : "retire needs an ID");
  if (!adds && (arguments.force || !arguments.size.empty()))
    return wrong_use(world, "--size and --force belong to add");
  std::optional<ByteCount> size;
  if (!arguments.size.empty()) {
    const auto parsed = parse_size(arguments.size);
    if (!parsed) return report_error(world, parsed.error(), kExitUsage);
    size = ByteCount(*parsed);
  }
  unsigned id = 0;
  if (!adds && !lists) {
    const char* const end = arguments.what.data() + arguments.what.size();
    const auto parsed = std::from_chars(arguments.what.data(), end, id);
    if (parsed.ec != std::errc() || parsed.ptr != end || id == 0 || id > 255) {
      return wrong_use(world, fmt::format("ID is the number of a spare, not {}", arguments.what));
    }
  }
  const auto target = resolve_target(arguments.target, world);
  if (!target) return report_error(world, target.error());
  if (lists) return list_spares(arguments, *target, world);
  return adds ? add_one(arguments, size, *target, world) : retire_one(arguments, id, *target, world);
}

}  // namespace

void add_spare(CLI::App& program, Invocation& invocation) {
  auto arguments = std::make_shared<SpareArguments>();
  CLI::App* const verb = program.add_subcommand("spare", "Add, list and retire spares, also while mounted");
  verb->add_option("TARGET", arguments->target, "Map, mount point, or the disk in it")->required();
  verb->add_option("ACTION", arguments->action, "add, list or retire")
      ->required()
      ->check(CLI::IsMember({"add", "list", "retire"}));
  verb->add_option("PATH", arguments->what,
                   "add: file or device for blocks that go bad, overwritten; retire: the ID of a spare");
  verb->add_option("--size", arguments->size, "add: make a file of this size, fully allocated")->type_name("SIZE");
  verb->add_flag("--force", arguments->force, "add: overwrite what carries a file system or belongs to another volume");
  verb->add_flag("-J,--json", arguments->json, "list, retire: as JSON");
  verb->footer(
      "A spare that is retired gives its blocks to the others, one by one, and can be taken away afterwards. When "
      "that\n"
      "is interrupted the rest stay where they are; retire it again to go on.\n\n"
      "Example:\n  remapfs spare /mnt/old add /srv/more.spare --size 1G\n  remapfs spare /mnt/old retire 1");
  verb->callback([arguments, &invocation] { invocation.exit_code = run_spare(*arguments, invocation.world); });
}

}  // namespace remapfs::cli
