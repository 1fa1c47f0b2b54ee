// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <memory>
#include <ostream>
#include <string>

#include "cli/held_signals.hpp"
#include "cli/loop_device.hpp"
#include "cli/map_view.hpp"
#include "cli/mount_request.hpp"
#include "cli/output.hpp"
#include "cli/reach.hpp"
#include "cli/unmounting.hpp"
#include "cli/verbs.hpp"
#include "core/unique_fd.hpp"

namespace remapfs::cli {
namespace {

struct AttachArguments {
  std::string map;
  std::string mount_point;  // empty: the default
  bool scan_partitions = false;
  bool read_only = false;
};

// Sector size for a loop device over the disk: the primary's logical block, unless the disk is no multiple of it.
std::uint32_t sector_size_of(const nlohmann::ordered_json& status) {
  const std::uint64_t size = status["volume"]["size_bytes"];
  const std::uint32_t logical = status["devices"].at(0).value("logical_block", 512U);
  return logical != 0 && size % logical == 0 ? logical : 512;
}

// The mount point of its own that a volume is attached at when none was given.
Result<std::string> make_default_mount_point(const std::string& map_path, const World& world) {
  const auto info = read_map_info(map_path);
  if (!info) return fail(info.error());
  if (auto prepared = prepare_runtime_directory(world.place); !prepared) return fail(prepared.error());
  std::string path = world.place.directory + "/" + info->uuid;
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) {
    return fail(Errc::device_other,
                fmt::format("cannot make the mount point, {} ({}), name another", path, std::strerror(errno)), errno);
  }
  return path;
}

// One at a time: whoever comes second finds what the first has made. The lock is the process's own, not the daemon's,
// and its file goes with the turn.
class Turn {
 public:
  static Result<Turn> wait_for(const std::string& map_path, const World& world) {
    const auto info = read_map_info(map_path);
    if (!info) return fail(info.error());
    if (auto prepared = prepare_runtime_directory(world.place); !prepared) return fail(prepared.error());
    Turn turn(world.place.directory + "/" + info->uuid + ".attach");
    do {
      turn.lock_ = UniqueFd(::open(turn.path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
      struct flock whole {};
      whole.l_type = F_WRLCK;
      if (!turn.lock_ || ::fcntl(turn.lock_.get(), F_SETLKW, &whole) != 0) {
        const int error = errno;
        turn.lock_.reset();
        return fail(Errc::device_other,
                    fmt::format("cannot wait for other commands, {} ({}), check that directory", turn.path_,
                                std::strerror(error)),
                    error);
      }
    } while (!turn.is_current());
    return turn;
  }
  Turn(Turn&&) = default;
  Turn& operator=(Turn&&) = delete;
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() {
    if (lock_) ::unlink(path_.c_str());
  }

 private:
  explicit Turn(std::string path) : path_(std::move(path)) {}
  // False when whoever was waited for has removed the file meanwhile.
  [[nodiscard]] bool is_current() const {
    struct stat held {};
    struct stat named {};
    return ::fstat(lock_.get(), &held) == 0 && ::stat(path_.c_str(), &named) == 0 && held.st_ino == named.st_ino &&
           held.st_dev == named.st_dev;
  }

  std::string path_;
  UniqueFd lock_;
};

// Mounts what is not mounted yet. Errors come with the exit code of a failed mount.
Result<Daemon> mount_for_attach(const Target& target, const AttachArguments& arguments, World& world) {
  const bool default_place = arguments.mount_point.empty();
  auto mount_point =
      default_place ? make_default_mount_point(target.map_path, world) : absolute_path(arguments.mount_point);
  if (!mount_point) return fail(mount_point.error());
  MountSettings settings;
  settings.read_only = arguments.read_only;
  const auto disk = mount_in_background(target.map_path, *mount_point, settings, default_place, world);
  if (!disk) {
    if (default_place) remove_default_mount_point(*mount_point, world);
    return fail(disk.error());
  }
  auto daemon = find_daemon(target, world);
  if (!daemon) return fail(daemon.error());
  if (!*daemon)
    return fail(Errc::failed, "the daemon ended right after the mount, this volume, look at the system log");
  return std::move(**daemon);
}

Result<LoopAttachment> make_loop_device(const Daemon& daemon, const AttachArguments& arguments, HeldSignals& signals) {
  if (signals.take()) return fail(Errc::interrupted, fmt::format("interrupted, {}, attach it again", arguments.map));
  const auto disk = open_served_disk(daemon.mount_point());
  if (!disk) return fail(disk.error());
  const nlohmann::ordered_json& status = daemon.status();
  return attach_loop(*disk, {.sector_size = sector_size_of(status),
                             .read_only = arguments.read_only || status.value("read_only", false),
                             .scan_partitions = arguments.scan_partitions});
}

int attach_loop_device(const Daemon& daemon, const AttachArguments& arguments, bool mounted_here, World& world,
                       HeldSignals& signals) {
  const auto attachment = make_loop_device(daemon, arguments, signals);
  if (!attachment) {
    if (mounted_here) std::ignore = unmount_in_order(daemon);
    return report_error(world, attachment.error());
  }
  if (!attachment->direct) {
    report_note(world, fmt::format("{} works without direct I/O, data is cached twice", attachment->device));
  }
  world.out << attachment->device << '\n';
  return kExitDone;
}

int run_attach(const AttachArguments& arguments, World& world) {
  HeldSignals signals;  // all of it or nothing
  const auto target = resolve_target(arguments.map, world);
  if (!target) return report_error(world, target.error());
  const auto turn = Turn::wait_for(target->map_path, world);
  if (!turn) return report_error(world, turn.error(), kExitMount);
  auto found = find_daemon(*target, world);
  if (!found) return report_error(world, found.error());
  if (*found) {
    const Daemon& daemon = **found;
    const auto loops = loops_over({daemon.mount_point(), daemon.mount_point() + "/disk"}, world.views);
    if (arguments.read_only && !daemon.status().value("read_only", false)) {
      return report_error(world, Error{Errc::busy, EBUSY,
                                       fmt::format("mounted for writing already, {}, detach it first to attach it "
                                                   "read-only",
                                                   daemon.mount_point())});
    }
    report_note(world, fmt::format("{} already, {}", loops.empty() ? "mounted" : "attached", daemon.mount_point()));
    if (loops.empty()) return attach_loop_device(daemon, arguments, false, world, signals);
    world.out << loops.front() << '\n';
    return kExitDone;
  }
  const auto daemon = mount_for_attach(*target, arguments, world);
  if (!daemon) return report_error(world, daemon.error(), kExitMount);
  return attach_loop_device(*daemon, arguments, true, world, signals);
}

}  // namespace

void add_attach(CLI::App& program, Invocation& invocation) {
  auto arguments = std::make_shared<AttachArguments>();
  CLI::App* const verb = program.add_subcommand("attach", "Mount a volume and set up a loop device over its disk");
  verb->add_option("MAP", arguments->map, "Map of the volume")->required();
  verb->add_option("MOUNTPOINT", arguments->mount_point, "Default: /run/remapfs/UUID");
  verb->add_flag("--partscan", arguments->scan_partitions, "Look for partitions on the loop device");
  verb->add_flag("--read-only", arguments->read_only, "Mount and attach read-only");
  verb->footer(
      "Prints the loop device. A volume that is mounted already is used as it is.\n\n"
      "Example:\n  remapfs attach /var/lib/old.remapfs && mount /dev/loop0 /mnt/data");
  verb->callback([arguments, &invocation] { invocation.exit_code = run_attach(*arguments, invocation.world); });
}

}  // namespace remapfs::cli
