// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <poll.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <ostream>
#include <string>

#include "cli/arguments.hpp"
#include "cli/assemble.hpp"
#include "cli/held_signals.hpp"
#include "cli/map_view.hpp"
#include "cli/output.hpp"
#include "cli/progress.hpp"
#include "cli/reach.hpp"
#include "cli/status_view.hpp"
#include "cli/verbs.hpp"
#include "control/scrub_report.hpp"
#include "core/json.hpp"
#include "volume/scrubber.hpp"

namespace remapfs::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ScrubArguments {
  std::string target;
  std::string action;  // empty: scrub and wait
  std::string rate;
  bool json = false;
};

constexpr std::chrono::milliseconds kLookPause{250};
constexpr int kLooksInTrouble = 20;

std::string share_done(const Json& scrub) {
  const auto total = scrub["bytes_total"].get<double>();
  return fmt::format("{:.0f} %", total > 0 ? scrub["bytes_done"].get<double>() / total * 100 : 0);
}

void print_scrub(const Json& scrub, std::ostream& out) {
  const auto line = [&](std::string_view name, const std::string& value) {
    out << fmt::format("{:<10} {}\n", fmt::format("{}:", name), value);
  };
  const std::string state = text_of(scrub["state"]);
  if (state == to_string(ScrubState::never)) return line("Scrub", "never");
  line("Scrub",
       fmt::format("{}, begun {}, last noted {}", state, text_of(scrub["started_at"]), text_of(scrub["updated_at"])));
  std::string done =
      fmt::format("{}, {} of {}", share_done(scrub), human_size(scrub["bytes_done"]), human_size(scrub["bytes_total"]));
  if (const auto rate = scrub["bytes_per_second"].get<std::uint64_t>(); rate != 0) {
    done += fmt::format(", {}/s", human_size(rate));
  }
  if (!scrub["seconds_left"].is_null()) done += fmt::format(", {} left", duration_text(scrub["seconds_left"]));
  line("Done", done);
  if (!scrub["rate_limit"].is_null()) line("Limit", human_size(scrub["rate_limit"]) + "/s");
  line("Found", in_words({scrub["moved_blocks"], scrub["weak_blocks"], scrub["lost_sectors"], scrub["unread_blocks"]}));
  if (!scrub["trouble"].is_null()) line("Trouble", one_line(text_of(scrub["trouble"])));
}

void print(const ScrubArguments& arguments, const Json& scrub, std::ostream& out) {
  if (arguments.json) {
    out << pretty(Json{{"json_format_version", 1}, {"scrub", scrub}});
  } else {
    print_scrub(scrub, out);
  }
}

// "64M", "64M/s"; 0: no limit.
Result<ScrubRequest> understand(const ScrubArguments& arguments) {
  ScrubRequest request{ScrubAction::resume, std::nullopt};
  for (int i = 0; i <= static_cast<int>(kLastScrubAction); ++i) {
    if (arguments.action == to_string(static_cast<ScrubAction>(i))) request.action = static_cast<ScrubAction>(i);
  }
  if (arguments.rate.empty()) return request;
  if (request.action != ScrubAction::start && request.action != ScrubAction::resume) {
    return fail(Errc::invalid, "usage, --rate belongs to a scrub that starts or is resumed, see remapfs scrub --help");
  }
  const auto rate = parse_rate(arguments.rate);
  if (!rate) return fail(rate.error());
  request.rate = *rate;
  return request;
}

// Shows a scrub until it runs no more.
class Watch {
 public:
  Watch(const Json& scrub, bool silent, World& world)
      : world_(world), progress_(world, "scrubbing", scrub["bytes_total"], Progress::Unit::bytes, silent) {
    progress_.begin_at(scrub["bytes_done"]);
  }

  // False when it has ended.
  bool show(const Json& scrub) {
    if (text_of(scrub["state"]) != to_string(ScrubState::running)) return false;
    const std::string trouble = text_of(scrub["trouble"]);
    if (!trouble.empty() && trouble != told_) report_note(world_, fmt::format("the scrub waits, {}", trouble));
    told_ = trouble;
    progress_.update(scrub["bytes_done"]);
    return true;
  }

 private:
  World& world_;
  Progress progress_;
  std::string told_;
};

int conclude(const ScrubArguments& arguments, const Json& scrub, World& world) {
  const std::string state = text_of(scrub["state"]);
  print(arguments, scrub, world.out);
  if (state == to_string(ScrubState::finished) || scrub["trouble"].is_null()) return kExitDone;
  return report_error(
      world, fmt::format("the scrub could not go on, {}, mend that and scrub again", text_of(scrub["trouble"])));
}

// --- mounted: the daemon scrubs ---

Result<Completion> ask(const Daemon& daemon, const ScrubRequest& request) {
  auto client = daemon.connect();
  if (!client) return fail(client.error());
  Request line;
  line.verb = Verb::scrub;
  line.scrub = request;
  auto completion = client->ask(line);
  if (!completion) return completion;
  if (!completion->result) return fail(completion->result.error());
  if (!completion->scrub.is_object()) return fail(Errc::invalid, "control socket: the daemon's answer lacks the scrub");
  return completion;
}

int watch_daemon(const ScrubArguments& arguments, const Target& target, const Daemon& daemon,
                 const ScrubRequest& request, World& world) {
  HeldSignals signals;
  auto now = ask(daemon, request);
  if (!now) return report_error(world, now.error());
  const auto look = [&]() -> Result<Completion> {
    // The process that serves may be another one by now.
    const auto there = find_daemon(target, world);
    if (!there) return fail(there.error());
    if (!*there) return fail(Errc::device_gone, fmt::format("unmounted meanwhile, {}, mount it", target.map_path));
    return ask(**there, {ScrubAction::status, std::nullopt});
  };
  OutOfSight out_of_sight;
  bool left = false;
  {
    Watch watch(now->scrub, arguments.json, world);
    while (!left && watch.show(now->scrub)) {
      pollfd signal{signals.descriptor(), POLLIN, 0};
      ::poll(&signal, 1, static_cast<int>(kLookPause.count()));
      left = signals.take();
      auto next = look();
      if (out_of_sight.for_good(next.has_value())) return report_error(world, next.error());
      if (next) now = std::move(next);
    }
  }
  if (!left) return conclude(arguments, now->scrub, world);
  report_note(world, fmt::format("the scrub goes on in the background, {}, remapfs scrub {} pause holds it",
                                 share_done(now->scrub), arguments.target));
  return kExitDone;
}

int ask_daemon(const ScrubArguments& arguments, const Target& target, const Daemon& daemon, const ScrubRequest& request,
               World& world) {
  if (arguments.action.empty()) return watch_daemon(arguments, target, daemon, request, world);
  const auto completion = ask(daemon, request);
  if (!completion) return report_error(world, completion.error());
  const std::string state = text_of(completion->scrub["state"]);
  if (request.action != ScrubAction::status && *completion->result == Outcome::already) {
    report_note(world, fmt::format("the scrub is {} already", state == "never" ? "not running" : state));
  }
  print(arguments, completion->scrub, world.out);
  return kExitDone;
}

// --- not mounted: scrubbed here ---

int scrub_here(const ScrubArguments& arguments, const std::string& map_path, const ScrubRequest& request,
               World& world) {
  HeldSignals signals;
  AssembleOptions how;
  how.views = world.views;
  auto assembled = assemble(map_path, how);
  if (!assembled) return report_error(world, assembled.error());
  for (const std::string& warning : assembled->warnings) report_note(world, warning);
  int exit_code = kExitDone;
  {
    Volume& volume = *assembled->volume;
    Scrubber scrubber(volume, /*go_on=*/false);
    const auto look = [&] { return to_json(scrubber.status(), volume.info()); };
    const auto outcome = scrubber.apply(request);
    if (!outcome) return report_error(world, outcome.error());
    bool interrupted = false;
    std::string trouble;
    if (arguments.action.empty()) {
      Watch watch(look(), arguments.json, world);
      for (int in_trouble = 0; !interrupted && in_trouble < kLooksInTrouble && watch.show(look());) {
        std::ignore = scrubber.wait(kLookPause);
        interrupted = signals.take();
        trouble = scrubber.status().trouble;
        in_trouble = trouble.empty() ? 0 : in_trouble + 1;
      }
      // Nobody can ask this process to resume a device.
      if (look()["state"] == "running") std::ignore = scrubber.apply({ScrubAction::pause, std::nullopt});
    }
    exit_code =
        !interrupted && !trouble.empty()
            ? report_error(world, fmt::format("the scrub could not go on, {}, mend that and scrub again", trouble))
        : interrupted ? report_error(world, fmt::format("interrupted, {} is done, scrub again to go on from there",
                                                        share_done(look())))
                      : conclude(arguments, look(), world);
  }
  if (auto closed = assembled->volume->close(); !closed) return report_error(world, closed.error());
  return exit_code;
}

int run_scrub(const ScrubArguments& arguments, World& world) {
  const auto request = understand(arguments);
  if (!request) return report_error(world, request.error(), kExitUsage);
  const auto target = resolve_target(arguments.target, world);
  if (!target) return report_error(world, target.error());
  const auto daemon = find_daemon(*target, world);
  if (!daemon) return report_error(world, daemon.error());
  if (*daemon) return ask_daemon(arguments, *target, **daemon, *request, world);

  if (arguments.action.empty() || request->action == ScrubAction::stop) {
    return scrub_here(arguments, target->map_path, *request, world);
  }
  if (request->action == ScrubAction::start || request->action == ScrubAction::resume) {
    return report_error(world, fmt::format("not mounted, {}, mount it, or leave out {} to scrub it here and now",
                                           target->map_path, arguments.action));
  }
  const auto info = read_map_info(target->map_path);
  if (!info) return report_error(world, info.error());
  if (request->action == ScrubAction::pause) {
    report_note(world, fmt::format("not mounted, {}, nothing scrubs it", target->map_path));
  }
  print(arguments, to_json(scrub_at_rest(*info), *info), world.out);
  return kExitDone;
}

}  // namespace

void add_scrub(CLI::App& program, Invocation& invocation) {
  auto arguments = std::make_shared<ScrubArguments>();
  CLI::App* const verb = program.add_subcommand("scrub", "Read the whole disk and move what is weak");
  verb->add_option("TARGET", arguments->target, "Map, mount point, or the disk in it")->required();
  verb->add_option("ACTION", arguments->action,
                   "start, pause, resume, stop or status; none: scrub and show how far it is")
      ->check(CLI::IsMember({"start", "pause", "resume", "stop", "status"}));
  verb->add_option("--rate", arguments->rate, "Read at most so much a second, as 64M or 64M/s; 0: no limit")
      ->type_name("SIZE");
  verb->add_flag("-J,--json", arguments->json, "How the scrub is, as JSON");
  verb->footer(
      "Blocks that come back only after retries move to a spare while their data is good; sectors that cannot be\n"
      "read are recorded as lost. Requests go first. The scrub of a mounted volume runs in its daemon, and goes on\n"
      "after a remount where it was; Ctrl-C only ends watching it. Without a daemon it runs here, and one that was\n"
      "interrupted goes on the next time.\n\n"
      "Example:\n  remapfs scrub /mnt/old --rate 64M/s\n  remapfs scrub /mnt/old pause");
  verb->callback([arguments, &invocation] { invocation.exit_code = run_scrub(*arguments, invocation.world); });
}

}  // namespace remapfs::cli
