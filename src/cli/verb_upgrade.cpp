// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "cli/output.hpp"
#include "cli/reach.hpp"
#include "cli/target.hpp"
#include "cli/verbs.hpp"

namespace remapfs::cli {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::ordered_json;

// As long as the new program is given to load the map, and a moment more.
constexpr auto kPatience = 130s;
constexpr auto kLookAgain = 50ms;

struct UpgradeArguments {
  std::string target;
  std::string program;  // empty: this one
  bool all = false;
};

Result<std::string> program_to_run(const UpgradeArguments& arguments) {
  if (!arguments.program.empty()) return existing_path(arguments.program);
  std::array<char, PATH_MAX> path{};
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size() - 1);
  if (length <= 0) return fail(Errc::not_found, "this program has no name, /proc/self/exe, give --program", errno);
  return existing_path({path.data(), static_cast<std::size_t>(length)});
}

// Null of a program that does not serve yet: it answers before it does, and knows nothing of the mount by then.
Json survival_of(const Daemon& daemon) { return daemon.status().value("crash_survival", Json()); }

// Waits for a program that has just been started, after a crash for instance, or is about to end. Null when nothing is
// mounted.
auto find_serving(const Target& target, const World& world) -> decltype(find_daemon(target, world)) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    auto daemon = find_daemon(target, world);
    if (!daemon || !*daemon || survival_of(**daemon).is_object()) return daemon;
    if (std::chrono::steady_clock::now() >= deadline) {
      return fail(Errc::timeout,
                  fmt::format("the volume does not come to serve, {}, look at the system log", target.map_path));
    }
    std::this_thread::sleep_for(kLookAgain);
  }
}

// Follows the change until one of the two programs serves. The daemon is not there for a part of it.
Result<Json> wait_for_outcome(const Target& target, const Json& before, const World& world) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    const auto daemon = find_daemon(target, world);
    const Json now = daemon && *daemon ? survival_of(**daemon) : Json();
    if (now.is_object()) {
      if (now["upgrades"] != before["upgrades"]) return (*daemon)->status();
      if (now["failed_upgrades"] != before["failed_upgrades"]) {
        return fail(Errc::failed, fmt::format("the new program could not go on, {} ({}), the old one serves as before",
                                              (*daemon)->mount_point(), now["last_failure"].dump()));
      }
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      return fail(Errc::timeout,
                  fmt::format("no program has said that it serves, {}, look at the system log", target.map_path));
    }
    std::this_thread::sleep_for(kLookAgain);
  }
}

int upgrade_volume(const Target& target, const std::string& program, World& world) {
  const auto daemon = find_serving(target, world);
  if (!daemon) return report_error(world, daemon.error());
  if (!*daemon) {
    report_note(world, fmt::format("not mounted, {}, nothing to upgrade", target.map_path));
    return kExitDone;
  }
  const Json before = survival_of(**daemon);
  auto client = (*daemon)->connect();
  if (!client) return report_error(world, client.error());
  const auto completion = client->ask({.verb = Verb::upgrade, .blocks = {}, .program = program});
  if (!completion) return report_error(world, completion.error());
  if (!completion->result) return report_error(world, completion->result.error());
  const auto after = wait_for_outcome(target, before, world);
  if (!after) return report_error(world, after.error());
  world.out << fmt::format("{} is served by {} {}, process {}\n", (*daemon)->mount_point(), program,
                           (*after)["crash_survival"]["program"].get<std::string>(), (*after)["worker_pid"].dump());
  return kExitDone;
}

// One that cannot be upgraded keeps no other from it.
int upgrade_all(const std::string& program, World& world) {
  const std::vector<Target> targets = mounted_targets(world);
  int exit_code = kExitDone;
  for (const Target& target : targets) {
    const auto upgrade = [&] { return upgrade_volume(target, program, world); };
    exit_code = std::max(exit_code, unless_not_understood(world, upgrade));
  }
  if (targets.empty()) report_note(world, "no volume is mounted, nothing to upgrade");
  return exit_code;
}

int run_upgrade(const UpgradeArguments& arguments, World& world) {
  const auto program = program_to_run(arguments);
  if (!program) return report_error(world, program.error());
  if (arguments.all) return upgrade_all(*program, world);
  const auto target = resolve_target(arguments.target, world);
  if (!target) return report_error(world, target.error());
  return upgrade_volume(*target, *program, world);
}

}  // namespace

void add_upgrade(CLI::App& program, Invocation& invocation) {
  auto arguments = std::make_shared<UpgradeArguments>();
  CLI::App* const verb = program.add_subcommand("upgrade", "Have this program go on with a mounted volume");
  const CLI::Option* const target =
      verb->add_option("TARGET", arguments->target, "Map, mount point, or the disk in it");
  verb->add_flag("--all", arguments->all, "Every volume that this user has mounted");
  verb->add_option("--program", arguments->program, "Another remapfs than the one that is run here")->type_name("PATH");
  verb->footer(
      "For use after a new version was installed: whoever uses the disk sees a short pause and no error.\n"
      "A program that cannot go on with the mount refuses, and the old one serves as before.\n\n"
      "Example:\n  remapfs upgrade /mnt/old");
  verb->callback([arguments, target, &invocation] {
    if (arguments->all == (target->count() > 0)) throw CLI::ValidationError("one of TARGET and --all is needed");
    invocation.exit_code = run_upgrade(*arguments, invocation.world);
  });
}

}  // namespace remapfs::cli
