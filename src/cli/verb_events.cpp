// SPDX-License-Identifier: Apache-2.0
#include <poll.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "cli/map_view.hpp"
#include "cli/output.hpp"
#include "cli/status_view.hpp"
#include "cli/table.hpp"
#include "cli/target.hpp"
#include "cli/verbs.hpp"
#include "core/json.hpp"

namespace remapfs::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t kEverything = 1'000'000;  // the history is bounded well below
constexpr std::uint64_t kFollowBatch = 1000;
constexpr int kFollowPauseMs = 500;

struct EventArguments {
  std::string target;
  bool json = false;
  bool follow = false;
};

std::string dump(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string block_of(const store::ListedEvent& event) {
  return event.event.block ? std::to_string(event.event.block->value()) : "";
}

void print_all(const std::vector<store::ListedEvent>& events, bool json, std::ostream& out) {
  if (json) {
    out << "{\n  \"json_format_version\": 1,\n  \"events\": [";
    const char* separator = "\n    ";
    for (const auto& event : events) {
      out << separator << dump(event_json(event));
      separator = ",\n    ";
    }
    out << (events.empty() ? "]\n}\n" : "\n  ]\n}\n");
    return;
  }
  Table table({{"AT"}, {"KIND"}, {"BLOCK", true}, {"DETAIL"}}, true);
  for (const auto& event : events) {
    table.add_row({event.at, event.event.kind, block_of(event), one_line(event.event.detail)});
  }
  out << table.render();
}

void print_one(const store::ListedEvent& event, bool json, std::ostream& out) {
  if (json) {
    out << dump(event_json(event)) << std::endl;
  } else {
    out << event.at << ' ' << event.event.kind << ' ' << (event.event.block ? block_of(event) : "-") << ' '
        << one_line(event.event.detail) << std::endl;
  }
}

// Until the output is closed or a signal ends the program.
int follow(const std::string& map_path, bool json, World& world) {
  std::int64_t last = 0;
  while (world.out) {
    const auto events = read_events_after(map_path, last, kFollowBatch);
    if (!events) return report_error(world, events.error());
    for (const auto& event : *events) {
      print_one(event, json, world.out);
      last = event.id;
    }
    if (events->size() < kFollowBatch) ::poll(nullptr, 0, kFollowPauseMs);
  }
  return kExitDone;
}

int run_events(const EventArguments& arguments, World& world) {
  const auto target = resolve_target(arguments.target, world);
  if (!target) return report_error(world, target.error());
  if (arguments.follow) return follow(target->map_path, arguments.json, world);
  const auto events = read_newest_events(target->map_path, kEverything);
  if (!events) return report_error(world, events.error());
  print_all(*events, arguments.json, world.out);
  return kExitDone;
}

}  // namespace

void add_events(CLI::App& program, Invocation& invocation) {
  auto arguments = std::make_shared<EventArguments>();
  CLI::App* const verb = program.add_subcommand("events", "Show the history of a volume");
  verb->add_option("TARGET", arguments->target, "Map, mount point, or the disk in it")->required();
  verb->add_flag("-J,--json", arguments->json, "As JSON");
  verb->add_flag("--follow", arguments->follow, "Go on as events come; with -J one object a line");
  verb->footer("Example:\n  remapfs events /mnt/old --follow");
  verb->callback([arguments, &invocation] { invocation.exit_code = run_events(*arguments, invocation.world); });
}

}  // namespace remapfs::cli
