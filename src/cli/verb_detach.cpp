// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <poll.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/loop_device.hpp"
#include "cli/output.hpp"
#include "cli/reach.hpp"
#include "cli/unmounting.hpp"
#include "cli/verbs.hpp"
#include "io/busy_users.hpp"

namespace remapfs::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr auto kLoopPatience = std::chrono::seconds(20);
constexpr auto kBusyPatience = std::chrono::seconds(5);
constexpr int kBusyPauseMs = 20;

// What is to be taken down.
struct Attachment {
  Target target;
  std::vector<std::string> loops;       // to be detached
  std::vector<std::string> left_alone;  // further loop devices over the same disk
};

Result<Attachment> find_attachment(const std::string& text, const World& world) {
  if (!text.starts_with(world.views.dev + "/loop")) {
    auto target = resolve_target(text, world);
    if (!target) return fail(target.error());
    Attachment found{std::move(*target), {}, {}};
    if (found.target.mount) found.loops = loops_over(found.target.mount->possible_disk_paths(), world.views);
    return found;
  }
  const auto file = file_below_loop(text, world.views);
  if (!file) return fail(file.error());
  auto target = resolve_target(*file, world);
  if (!target || !target->mount) {
    return fail(Errc::foreign,
                fmt::format("not a loop device over a volume, {} (over {}), use losetup --detach", text, *file));
  }
  Attachment found{std::move(*target), {text}, {}};
  found.left_alone = loops_over(found.target.mount->possible_disk_paths(), world.views);
  std::erase(found.left_alone, text);
  return found;
}

// The kernel lets go of the file a moment after the loop device is free: busy without a user is waited out.
Result<Outcome> unmount_when_released(const Target& target, const World& world) {
  const auto deadline = std::chrono::steady_clock::now() + kBusyPatience;
  for (;;) {
    auto outcome = unmount(target, false, world);
    // A daemon that has died left a mount that nobody can use.
    if (!outcome && outcome.error().code == Errc::device_gone) return unmount(target, true, world);
    const bool transient = !outcome && outcome.error().code == Errc::busy && target.mount &&
                           busy_users(target.mount->mount_point, world.views).empty();
    if (!transient || std::chrono::steady_clock::now() >= deadline) return outcome;
    ::poll(nullptr, 0, kBusyPauseMs);
  }
}

// Taking down a loop device stores what is left to be stored: while requests wait for a device, that would too, and
// could not even be interrupted.
Result<void> check_nobody_waits(const Attachment& attachment, const World& world) {
  if (attachment.loops.empty()) return {};
  const auto daemon = find_daemon(attachment.target, world);
  if (!daemon || !*daemon) return {};  // for the unmount to say
  if (!(*daemon)->suspended() || (*daemon)->status().value("on_loss", Json()) != "wait") return {};
  return fail(Errc::suspended,
              fmt::format("it waits for a device that does not work, {}, put that right and run remapfs resume, or "
                          "give up with remapfs unmount --force",
                          (*daemon)->mount_point()));
}

int run_detach(const std::string& text, World& world) {
  const auto found = find_attachment(text, world);
  if (!found) return report_error(world, found.error());
  if (auto ready = check_nobody_waits(*found, world); !ready) return report_error(world, ready.error());
  std::optional<Error> unsynced;
  for (const std::string& loop : found->loops) {
    const auto detached = detach_loop(loop, kLoopPatience, world.views);
    if (!detached) return report_error(world, detached.error());
    if (*detached) unsynced = **detached;
  }
  if (!found->left_alone.empty()) {
    report_note(world, fmt::format("still attached, {}, the volume stays mounted", fmt::join(found->left_alone, ", ")));
    return unsynced ? report_error(world, *unsynced) : kExitDone;
  }
  const auto outcome = unmount_when_released(found->target, world);
  if (!outcome) return report_error(world, outcome.error());
  if (unsynced) return report_error(world, *unsynced);
  if (*outcome == Outcome::already) report_note(world, fmt::format("not attached, {}", found->target.map_path));
  return kExitDone;
}

}  // namespace

void add_detach(CLI::App& program, Invocation& invocation) {
  auto target = std::make_shared<std::string>();
  CLI::App* const verb = program.add_subcommand("detach", "Undo attach: take the loop device down and unmount");
  verb->add_option("TARGET", *target, "Map, mount point, the disk in it, or /dev/loopN")->required();
  verb->footer(
      "Refused while the loop device is in use, naming the users.\n\n"
      "Example:\n  umount /mnt/data && remapfs detach /dev/loop0");
  verb->callback([target, &invocation] { invocation.exit_code = run_detach(*target, invocation.world); });
}

}  // namespace remapfs::cli
