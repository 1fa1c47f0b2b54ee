// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <poll.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <ctime>
#include <memory>
#include <ostream>
#include <string>

#include "cli/forecast.hpp"
#include "cli/map_view.hpp"
#include "cli/output.hpp"
#include "cli/screen.hpp"
#include "cli/status_view.hpp"
#include "cli/table.hpp"
#include "cli/verbs.hpp"
#include "cli/watch_view.hpp"
#include "core/utc.hpp"

namespace remapfs::cli {
namespace {

using Json = nlohmann::ordered_json;

struct StatusArguments {
  std::string target;
  bool json = false;
  bool watch = false;
};

constexpr std::chrono::milliseconds kWatchPause{2000};
constexpr std::chrono::minutes kForecastPause{1};
constexpr std::uint64_t kEventsOnScreen = 50;

// For people, from the same JSON that scripts get, so that the two cannot disagree.
void print_for_people(const Json& status, std::ostream& out) {
  const auto line = [&](std::string_view name, const std::string& value) {
    out << fmt::format("{:<10} {}\n", name.empty() ? "" : fmt::format("{}:", name), value);
  };
  const Json& volume = status["volume"];
  const Json& io = status["io"];
  line("Volume", text_of(volume["uuid"]) + (volume["label"].is_null() ? "" : " (" + text_of(volume["label"]) + ")"));
  line("State", text_of(status["state"]));
  for (const Json& reason : status["reasons"]) line("", text_of(reason));
  if (status["mounted"].get<bool>()) {
    line("Mounted", fmt::format("{}{}, daemon {}", text_of(status["mountpoint"]),
                                status["read_only"].get<bool>() ? " read-only" : "", text_of(status["daemon_pid"])));
    line("Engine", text_of(status["engine"]));
  } else {
    line("Mounted", "no");
  }
  line("Size", fmt::format("{} in blocks of {}", human_size(volume["size_bytes"]), human_size(volume["block_size"])));
  line("Remapped", fmt::format("{} blocks", text_of(status["remapped_blocks"])));
  line("Lost", fmt::format("{} sectors", text_of(status["lost_sectors"])));
  line("Weak", fmt::format("{} blocks", text_of(status["weak_blocks"])));
  line("Spare", fmt::format("{} of {} slots free", text_of(status["spare"]["slots_free"]),
                            text_of(status["spare"]["slots_total"])));
  const Json& scrub = status["scrub"];
  if (text_of(scrub["state"]) == "running") {
    line("Scrub",
         fmt::format("running, {} of {} read", human_size(scrub["bytes_done"]), human_size(scrub["bytes_total"])));
  } else {
    line("Scrub", text_of(scrub["state"]) + (scrub["updated_at"].is_null() ? "" : ", " + text_of(scrub["updated_at"])));
  }
  if (const std::string words = replacement_in_words(status["replacement"]); !words.empty()) line("Replace", words);
  if (status["mounted"].get<bool>()) {
    line("Requests", fmt::format("{} reads, {} writes; {} and {} answered with an error; {} blocks relocated",
                                 text_of(io["reads"]), text_of(io["writes"]), text_of(io["read_errors"]),
                                 text_of(io["write_errors"]), text_of(io["relocations"])));
    const Json& commits = status["commits"];
    line("Commits", fmt::format("{}, the longest took {:.1f} ms", text_of(commits["count"]),
                                commits["longest_us"].get<double>() / 1000));
  }
  Table devices({{"ID", true}, {"ROLE"}, {"PATH"}, {"SLOTS", true}, {"FREE", true}, {"RETIRED", true}, {"NOTE"}}, true);
  for (const Json& device : status["devices"]) {
    devices.add_row({text_of(device["id"]), text_of(device["role"]), text_of(device["path"]), text_of(device["slots"]),
                     text_of(device["slots_free"]), text_of(device["slots_retired"]), note_of_device(device)});
  }
  out << '\n' << devices.render();
}

std::string dump(const Json& status, int indent) {
  return status.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// The volume may be mounted and unmounted between two looks.
Result<Json> look_again(const std::string& map_path, const World& world) {
  const auto target = resolve_target(map_path, world);
  if (!target) return fail(target.error());
  return status_of(*target, world);
}

// Until the output is closed or a signal ends the program.
int watch_as_lines(const std::string& map_path, bool json, World& world) {
  while (world.out) {
    const auto status = look_again(map_path, world);
    if (!status) return report_error(world, status.error());
    if (json) {
      world.out << dump(*status, -1) << std::endl;
    } else {
      print_for_people(*status, world.out);
      world.out << std::endl;
    }
    ::poll(nullptr, 0, static_cast<int>(kWatchPause.count()));
  }
  return kExitDone;
}

// On a screen trouble is shown, and may pass; before the first look it is an error like any.
int watch_on_screen(const std::string& map_path, World& world) {
  auto status = look_again(map_path, world);
  if (!status) return report_error(world, status.error());
  WatchView view(world.colours);
  Screen screen(world.out);
  auto forecast_due = WatchView::Clock::now();
  for (;;) {
    const auto now = WatchView::Clock::now();
    view.set_trouble(status ? "" : describe(status.error()));
    if (status) {
      if (now >= forecast_due) {
        // A look at every row: not at each turn.
        const std::int64_t seconds = std::time(nullptr);
        if (const auto growth = read_growth(map_path, forecast_begin(seconds))) {
          view.set_forecast(in_words(
              make_forecast(*growth, (*status)["spare"]["slots_free"], (*status)["spare"]["slots_total"], seconds)));
        }
        forecast_due = now + kForecastPause;
      }
      if (auto events = read_newest_events(map_path, kEventsOnScreen)) view.set_events(std::move(*events));
      view.add(std::move(*status), now);
    }
    auto wake = Screen::Wake::resized;
    for (auto left = kWatchPause; wake == Screen::Wake::resized && left.count() > 0;) {
      const Screen::Size size = Screen::size();
      screen.draw(view.lines(size.columns, size.rows, utc_now()));
      wake = screen.wait(left);
      left = kWatchPause - std::chrono::duration_cast<std::chrono::milliseconds>(WatchView::Clock::now() - now);
    }
    if (wake == Screen::Wake::quit) return kExitDone;
    status = look_again(map_path, world);
  }
}

int run_status(const StatusArguments& arguments, World& world) {
  const auto target = resolve_target(arguments.target, world);
  if (!target) return report_error(world, target.error());
  if (arguments.watch) {
    return !arguments.json && world.out_is_terminal ? watch_on_screen(target->map_path, world)
                                                    : watch_as_lines(target->map_path, arguments.json, world);
  }
  const auto status = status_of(*target, world);
  if (!status) return report_error(world, status.error());
  if (arguments.json) {
    world.out << dump(*status, 2) << '\n';
  } else {
    print_for_people(*status, world.out);
  }
  return kExitDone;
}

}  // namespace

void add_status(CLI::App& program, Invocation& invocation) {
  auto arguments = std::make_shared<StatusArguments>();
  CLI::App* const verb = program.add_subcommand("status", "Show how a volume is");
  verb->add_option("TARGET", arguments->target, "Map, mount point, or the disk in it")->required();
  verb->add_flag("-J,--json", arguments->json, "As JSON");
  verb->add_flag("--watch", arguments->watch,
                 "Again every 2 seconds; on a terminal the whole screen, with -J one object a line");
  verb->footer("The state never changes the exit code.\n\nExample:\n  remapfs status /mnt/old -J | jq .state");
  verb->callback([arguments, &invocation] { invocation.exit_code = run_status(*arguments, invocation.world); });
}

}  // namespace remapfs::cli
