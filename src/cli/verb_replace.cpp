// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <poll.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>

#include "cli/arguments.hpp"
#include "cli/held_signals.hpp"
#include "cli/map_view.hpp"
#include "cli/new_primary.hpp"
#include "cli/output.hpp"
#include "cli/progress.hpp"
#include "cli/reach.hpp"
#include "cli/spare_device.hpp"
#include "cli/status_view.hpp"
#include "cli/target.hpp"
#include "cli/verbs.hpp"
#include "cli/with_volume.hpp"
#include "control/replace_report.hpp"
#include "core/json.hpp"
#include "volume/replacer.hpp"

namespace remapfs::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ReplaceArguments {
  std::string target;
  std::string path;  // empty: about the one that is under way
  std::string rate;
  bool stop = false;
  bool status = false;
  bool force = false;
  bool json = false;
};

constexpr std::chrono::milliseconds kReplaceLookPause{250};

bool is_state(const Json& replacement, ReplaceState state) {
  return replacement.is_object() && text_of(replacement["state"]) == to_string(state);
}
bool goes_on(const Json& replacement) {
  return is_state(replacement, ReplaceState::copying) || is_state(replacement, ReplaceState::returning);
}

void print_replacement(const Json& replacement, std::ostream& out) {
  const auto line = [&](std::string_view name, const std::string& value) {
    out << fmt::format("{:<12} {}\n", fmt::format("{}:", name), value);
  };
  if (replacement.is_null()) return line("Replacement", "none since the volume was mounted");
  line("Replacement", fmt::format("{}, by {}", text_of(replacement["state"]), one_line(text_of(replacement["path"]))));
  if (const std::string words = replacement_in_words(replacement); !words.empty()) line("Progress", words);
  if (replacement["switched"].get<bool>()) {
    line("Returned", fmt::format("{} blocks from the spares, {} are there", text_of(replacement["returned_blocks"]),
                                 text_of(replacement["kept_blocks"])));
  }
  if (!replacement["trouble"].is_null()) line("Trouble", one_line(text_of(replacement["trouble"])));
}

void print(const ReplaceArguments& arguments, const Json& replacement, std::ostream& out) {
  if (arguments.json) {
    out << pretty({{"json_format_version", 1}, {"replacement", replacement}});
  } else {
    print_replacement(replacement, out);
  }
}

// Follows a replacement. look: how it is now; a signal ends following it.
class Follower {
 public:
  Follower(bool silent, World& world) : silent_(silent), world_(world) {}

  // True when it has ended, false when a signal came.
  Result<bool> follow(Json& now, const std::function<Result<Json>()>& look, HeldSignals& signals) {
    std::optional<Progress> progress;
    std::uint64_t most_done = 0;
    while (goes_on(now)) {
      if (is_state(now, ReplaceState::copying)) {
        const auto total = now["bytes_total"].get<std::uint64_t>();
        if (!progress) progress.emplace(world_, "copying", total, Progress::Unit::bytes, silent_);
        // What is written meanwhile is to be copied again: a bar does not go back.
        most_done = std::max(most_done, total - now["bytes_left"].get<std::uint64_t>());
        progress->update(most_done);
      } else {
        progress.reset();
      }
      tell_trouble(now);
      pollfd signal{signals.descriptor(), POLLIN, 0};
      ::poll(&signal, 1, static_cast<int>(kReplaceLookPause.count()));
      if (signals.take()) return false;
      auto next = look();
      if (out_of_sight_.for_good(next.has_value())) return fail(next.error());
      if (next) now = std::move(*next);
    }
    return true;
  }

 private:
  void tell_trouble(const Json& now) {
    const std::string trouble = text_of(now["trouble"]);
    if (!trouble.empty() && trouble != told_ && is_state(now, ReplaceState::copying)) {
      report_note(world_, fmt::format("the copy waits, {}", trouble));
    }
    told_ = trouble;
  }

  const bool silent_;
  World& world_;
  std::string told_;
  OutOfSight out_of_sight_;
};

// What is asked for: the device that the map has, the one that it is to have.
struct Change {
  std::string map_path;
  std::string from;
  std::string to;
  std::optional<SpareId> spare_on_from;  // which has blocks, and stays where it is
};

void print_change(const Change& change, std::ostream& out) {
  const std::string from = one_line(change.from);
  const std::string rest = change.spare_on_from ? fmt::format("spare {} is still on {}: add another, then retire it",
                                                              *change.spare_on_from, from)
                                                : fmt::format("{} can be taken away", from);
  out << fmt::format("{} is the primary now, {}\n", one_line(change.to), rest);
}

int conclude(const ReplaceArguments& arguments, const Json& replacement, const Change& change, World& world) {
  if (replacement.is_null()) {
    // Another process serves, and knows only what the map says.
    const auto info = read_map_info(change.map_path);
    if (info && info->primary_path == change.to) {
      report_note(world, "the process that copied has ended, another one serves; blocks may still be on spares");
      if (arguments.json) {
        print(arguments, replacement, world.out);
      } else {
        print_change(change, world.out);
      }
      return kExitDone;
    }
    return report_error(world, "the copy was interrupted, the process that made it has ended, start it again");
  }
  if (!is_state(replacement, ReplaceState::finished)) {
    if (arguments.json) print(arguments, replacement, world.out);
    const std::string why = text_of(replacement["trouble"]);
    return report_error(world, fmt::format("not replaced, {}", why.empty() ? "the copy was stopped" : why));
  }
  if (arguments.json) {
    print(arguments, replacement, world.out);
    return kExitDone;
  }
  print_change(change, world.out);
  if (replacement["returned_blocks"] != 0) {
    world.out << fmt::format("{} blocks came back to it from the spares\n", text_of(replacement["returned_blocks"]));
  }
  if (replacement["kept_blocks"] != 0) {
    const std::string why = text_of(replacement["trouble"]);
    report_note(world, fmt::format("{} blocks are still on spares{}, see remapfs list, remapfs remove brings them back",
                                   text_of(replacement["kept_blocks"]), why.empty() ? "" : ", " + why));
  }
  return kExitDone;
}

// --- mounted: the daemon copies ---

Result<Json> ask_replace(const Daemon& daemon, ReplaceRequest request, Outcome* outcome = nullptr) {
  auto client = daemon.connect();
  if (!client) return fail(client.error());
  Request line;
  line.verb = Verb::replace;
  line.replace = std::move(request);
  auto completion = client->ask(line);
  if (!completion) return fail(completion.error());
  if (!completion->result) return fail(completion->result.error());
  if (outcome != nullptr) *outcome = *completion->result;
  return std::move(completion->replacement);
}

int replace_there(const ReplaceArguments& arguments, const Target& target, ReplaceRequest request, const Change& change,
                  const Daemon& daemon, World& world) {
  HeldSignals signals;
  auto now = ask_replace(daemon, std::move(request));
  if (!now) return report_error(world, now.error());
  const auto look = [&]() -> Result<Json> {
    // The process that serves may be another one by now.
    const auto there = find_daemon(target, world);
    if (!there) return fail(there.error());
    if (!*there) return Json();
    return ask_replace(**there, {});
  };
  const auto ended = Follower(arguments.json, world).follow(*now, look, signals);
  if (!ended) return report_error(world, ended.error());
  if (*ended) return conclude(arguments, *now, change, world);
  report_note(world, fmt::format("the copy goes on in the background, {}, remapfs replace {} --stop ends it",
                                 share_copied(*now), arguments.target));
  return kExitDone;
}

// --- not mounted: copied here ---

int replace_here(const ReplaceArguments& arguments, const Target& target, const ReplaceRequest& request,
                 const Change& change, World& world) {
  HeldSignals signals;
  Json now;
  const auto done = with_volume(target.map_path, world, [&](Volume& volume) -> Result<void> {
    auto next = open_new_primary(request.path, volume.info(), world.views);
    if (!next) return fail(next.error());
    next->alone = true;
    Replacer replacer(volume);
    if (auto started = replacer.start(std::move(*next), request.rate); !started) return started;
    now = to_json(replacer.status());
    const auto ended = Follower(arguments.json, world)
                           .follow(
                               now, [&]() -> Result<Json> { return to_json(replacer.status()); }, signals);
    if (!ended) return fail(ended.error());
    if (!*ended) std::ignore = replacer.stop();
    now = to_json(replacer.status());
    return {};
  });
  // What became of it is to be known even when the volume could not be closed in order.
  const int exit_code = now.is_null() ? kExitDone : conclude(arguments, now, change, world);
  return done ? exit_code : report_error(world, done.error());
}

int about_the_one_under_way(const ReplaceArguments& arguments, const std::optional<Daemon>& daemon, World& world) {
  if (!daemon) {
    if (arguments.stop) report_note(world, "not mounted, nothing is being replaced");
    print(arguments, Json(), world.out);
    return kExitDone;
  }
  Outcome outcome = Outcome::done;
  const auto now =
      ask_replace(*daemon, {arguments.stop ? ReplaceAction::stop : ReplaceAction::status, {}, 0}, &outcome);
  if (!now) return report_error(world, now.error());
  if (arguments.stop && outcome == Outcome::already) report_note(world, "nothing was being replaced");
  print(arguments, *now, world.out);
  return kExitDone;
}

int run_replace(const ReplaceArguments& arguments, World& world) {
  ReplaceRequest request{ReplaceAction::start, {}, 0};
  if (!arguments.rate.empty()) {
    const auto rate = parse_rate(arguments.rate);
    if (!rate) return report_error(world, rate.error(), kExitUsage);
    request.rate = *rate;
  }
  const auto target = resolve_target(arguments.target, world);
  if (!target) return report_error(world, target.error());
  const auto daemon = find_daemon(*target, world);
  if (!daemon) return report_error(world, daemon.error());
  if (arguments.path.empty()) return about_the_one_under_way(arguments, *daemon, world);

  const auto path = absolute_path(arguments.path);
  if (!path) return report_error(world, path.error());
  request.path = *path;
  const auto info = read_map_info(target->map_path);
  if (!info) return report_error(world, info.error());
  if (*daemon) {
    auto apart = check_stands_apart(*path, "new primary", (*daemon)->mount_point(), world.views);
    if (!apart) return report_error(world, apart.error());
  }
  if (auto fit = check_new_primary(*path, *info, arguments.force, world); !fit) return report_error(world, fit.error());
  if (const auto status = status_of(*target, world); status && (*status)["lost_sectors"] != 0) {
    report_note(world, fmt::format("{} sectors are lost, and stay so on the new disk; a last try: remapfs retest {}",
                                   text_of((*status)["lost_sectors"]), arguments.target));
  }
  Change change{target->map_path, info->primary_path, request.path, std::nullopt};
  for (const SpareInfo& spare : info->spares) {
    if (info->is_end_of_primary(spare)) change.spare_on_from = spare.id;
  }
  return *daemon ? replace_there(arguments, *target, std::move(request), change, **daemon, world)
                 : replace_here(arguments, *target, request, change, world);
}

}  // namespace

void add_replace(CLI::App& program, Invocation& invocation) {
  auto arguments = std::make_shared<ReplaceArguments>();
  CLI::App* const verb = program.add_subcommand("replace", "Copy to another primary while in use, and go on with it");
  verb->add_option("TARGET", arguments->target, "Map, mount point, or the disk in it")->required();
  verb->add_option("NEWPRIMARY", arguments->path, "Disk or file that takes the primary's place, overwritten");
  verb->add_option("--rate", arguments->rate, "Copy at most so much a second, as 64M or 64M/s; 0: no limit")
      ->type_name("SIZE");
  verb->add_flag("--force", arguments->force, "Overwrite what carries a file system or is a spare");
  verb->add_flag("--status", arguments->status, "How the replacement under way is, or the last one");
  verb->add_flag("--stop", arguments->stop, "End the one that is under way");
  verb->add_flag("-J,--json", arguments->json, "How the replacement is, as JSON");
  verb->footer(
      "Of a mounted volume the daemon copies, and requests go first; Ctrl-C only ends watching it. At the end "
      "requests\n"
      "wait for about a second, then the new disk serves and the old one can be unplugged. Blocks on spares come back\n"
      "to the new disk; sectors that cannot be read stay lost. A copy that was interrupted begins anew.\n\n"
      "Example:\n  remapfs replace /mnt/old /dev/disk/by-id/ata-new\n  remapfs replace /mnt/old --status");
  verb->callback([arguments, &invocation] {
    const bool about = arguments->stop || arguments->status;
    if (about == !arguments->path.empty() || (arguments->stop && arguments->status)) {
      throw CLI::ValidationError("one of NEWPRIMARY, --status and --stop is needed");
    }
    if (about && (arguments->force || !arguments->rate.empty())) {
      throw CLI::ValidationError("--force and --rate belong to a new primary");
    }
    invocation.exit_code = run_replace(*arguments, invocation.world);
  });
}

}  // namespace remapfs::cli
