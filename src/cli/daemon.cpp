// SPDX-License-Identifier: Apache-2.0
#include "cli/daemon.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "cli/assemble.hpp"
#include "cli/log.hpp"
#include "cli/output.hpp"
#include "cli/service_manager.hpp"
#include "cli/udev_notice.hpp"
#include "cli/watchdog.hpp"
#include "control/server.hpp"
#include "control/volume_target.hpp"
#include "core/unique_fd.hpp"
#include "fuse/mount_point.hpp"
#include "fuse/mount_table.hpp"
#include "fuse/operations.hpp"
#include "fuse/process_hardening.hpp"
#include "fuse/transport.hpp"
#include "fuse/volume_disk.hpp"
#include "io/busy_users.hpp"
#include "remapfs/thread_annotations.hpp"

namespace remapfs::cli {
namespace {

constexpr const char* kMountEvent = "mount";
constexpr const char* kUnmountEvent = "unmount";
// A connection whose last mount is gone ends at once, unless it is in use where we cannot see it.
constexpr int kUnmountPatienceMs = 5000;
constexpr int kConnectionCheckMs = 1000;
// All stacks are resident under mlockall; the default of 8 MiB each would be most of the daemon.
constexpr std::size_t kThreadStackBytes = std::size_t{1} << 20U;

// Requests to unmount, from threads of the control server to the thread that can.
class UnmountRequests {
 public:
  UnmountRequests() : wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  // Asks and waits for the answer. From any thread but the one that answers.
  Result<Outcome> ask() EXCLUDES(mutex_) {
    std::future<Result<Outcome>> answer;
    {
      const MutexLock lock(mutex_);
      if (final_answer_) return *final_answer_;
      answer = waiting_.emplace_back().get_future();
    }
    wake();
    return answer.get();
  }

  void wake() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
  }
  [[nodiscard]] int descriptor() const { return wake_.get(); }
  void clear_wake() const {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &count, sizeof count);
  }

  [[nodiscard]] bool any() EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return !waiting_.empty();
  }
  void answer_all(const Result<Outcome>& answer) EXCLUDES(mutex_) {
    std::vector<std::promise<Result<Outcome>>> waiting;
    {
      const MutexLock lock(mutex_);
      waiting.swap(waiting_);
    }
    for (auto& one : waiting) one.set_value(answer);
  }
  // Answers those waiting, and everybody who still asks.
  void answer_for_good(const Result<Outcome>& answer) EXCLUDES(mutex_) {
    {
      const MutexLock lock(mutex_);
      final_answer_ = answer;
    }
    answer_all(answer);
  }

 private:
  const UniqueFd wake_;
  Mutex mutex_;
  std::vector<std::promise<Result<Outcome>>> waiting_ GUARDED_BY(mutex_);
  std::optional<Result<Outcome>> final_answer_ GUARDED_BY(mutex_);
};

// The signals that the service acts on, as a descriptor; blocked for this and all later threads.
UniqueFd take_over_signals() {
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignore, nullptr);
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  sigaddset(&ending, SIGINT);
  sigaddset(&ending, SIGHUP);
  ::pthread_sigmask(SIG_BLOCK, &ending, nullptr);
  return UniqueFd(::signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK));
}

void limit_thread_stacks() {
  pthread_attr_t attributes;
  if (::pthread_attr_init(&attributes) != 0) return;
  if (::pthread_attr_setstacksize(&attributes, kThreadStackBytes) == 0) ::pthread_setattr_default_np(&attributes);
  ::pthread_attr_destroy(&attributes);
}

nlohmann::ordered_json transport_figures(const fuse::TransportInfo& info, std::optional<unsigned> connection) {
  const auto no_uring = info.no_uring.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(info.no_uring);
  return {{"workers", info.workers},
          {"no_io_uring", no_uring},
          {"cloned_descriptors", info.cloned},
          {"protocol", fmt::format("{}.{}", info.init.protocol_major, info.init.protocol_minor)},
          {"max_write", info.init.max_write},
          {"max_read", info.init.max_read},
          {"max_readahead", info.init.max_readahead},
          {"max_background", info.limits.max_background},
          {"congestion_threshold", info.limits.congestion_threshold},
          {"limits_confirmed", info.limits.confirmed},
          {"connection", connection ? nlohmann::ordered_json(*connection) : nlohmann::ordered_json(nullptr)}};
}

// One mount from its start to its end.
class Service {
 public:
  Service(const ServiceSpec& spec, const World& world) : spec_(spec), world_(world) {}

  Result<void> start();
  void run();
  // After run(): ends what start() began. What it says is what the last flush and close said.
  Result<void> finish();

 private:
  Result<void> start_transport();
  Result<void> start_control();
  void undo_start();
  void describe_status(StatusReport& report) const;
  void log_event(const Event& event) const;
  void record(std::string kind, std::string detail);
  // Takes the mount away. Errors: busy, naming the users.
  Result<void> try_unmount();
  // Where the volume is mounted now, as far as this mount namespace sees: empty when it is not.
  [[nodiscard]] std::vector<fuse::MountEntry> our_mounts() const;
  void handle_signals();
  // SIGHUP asks a service to look around again; a program on a terminal is told by it that the terminal has gone.
  [[nodiscard]] bool is_reload(const signalfd_siginfo& signal) const;
  void reload();
  void tell_udev();
  [[nodiscard]] bool connection_ended() const;
  // Errors: interrupted, when a signal has come that ends the service before it began.
  Result<void> go_on();

  const ServiceSpec& spec_;
  const World& world_;
  UdevPost udev_{world_};
  UniqueFd signals_;
  UnmountRequests requests_;
  fuse::HardeningReport hardening_;
  AssembledVolume assembled_;
  std::optional<fuse::VolumeDisk> disk_;
  std::optional<fuse::Operations> operations_;
  fuse::FuseChannel channel_;
  std::unique_ptr<fuse::Transport> transport_;
  std::optional<VolumeTarget> target_;
  std::unique_ptr<ControlServer> server_;
  bool mounted_ = false;
  // What start_transport() made may be looked at by the control server's threads, until target_ is detached.
  std::atomic<bool> serving_ = false;
};

Result<void> Service::start() {
  fuse::HardeningWishes wishes;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  wishes.lock_memory = false;  // a sanitizer's shadow cannot be locked
#endif
  limit_thread_stacks();
  hardening_ = fuse::harden_process(wishes);
  signals_ = take_over_signals();
  open_log(spec_.foreground ? LogPlace::terminal : LogPlace::syslog);

  AssembleOptions how;
  how.read_only = spec_.settings.read_only;
  how.degraded = spec_.settings.degraded;
  how.on_loss = spec_.settings.on_loss;
  how.on_event = [this](const Event& event) { log_event(event); };
  how.before_devices = [this](const VolumeInfo& info) {
    if (const auto told = udev_.before_devices(info); !told) log_warning(describe(told.error()));
  };
  how.views = world_.views;
  auto assembled = assemble(spec_.map_path, how);
  if (!assembled) {
    udev_.withdraw();
    return fail(assembled.error());
  }
  assembled_ = std::move(*assembled);

  auto started = go_on();
  // Whoever sees the mount finds the control socket.
  if (started) started = start_control();
  if (started) started = start_transport();
  if (started) started = go_on();
  if (!started) {
    undo_start();
    return started;
  }
  for (const std::string& warning : assembled_.warnings) log_warning(warning);
  for (const std::string& line : hardening_.lines) log_info(line);
  if (!transport_->info().no_uring.empty()) {
    log_warning(fmt::format("io_uring is not used, {}, transfers are slower", transport_->info().no_uring));
  }
  tell_udev();
  record(kMountEvent, fmt::format("at {}", channel_.mount_point));
  log_info(fmt::format("{} serves {} ({}, {})", spec_.map_path, channel_.mount_point, assembled_.volume->info().uuid,
                       transport_->info().describe()));
  return {};
}

Result<void> Service::go_on() {
  signalfd_siginfo signal{};
  while (::read(signals_.get(), &signal, sizeof signal) == static_cast<ssize_t>(sizeof signal)) {
    if (is_reload(signal)) continue;
    return fail(Errc::interrupted, fmt::format("interrupted, {}, mount it again", spec_.map_path));
  }
  return {};
}

Result<void> Service::start_transport() {
  fuse::MountOptions how;
  how.source = spec_.map_path;
  how.read_only = spec_.settings.read_only;
  how.allow_other = spec_.settings.allow_other;
  how.extra = spec_.settings.passed_on;
  auto channel = fuse::mount_fuse(spec_.mount_point, how);
  if (!channel) return fail(channel.error());
  channel_ = std::move(*channel);
  mounted_ = true;

  const MountSettings& settings = spec_.settings;
  const bool rings = settings.engine != MountSettings::Engine::blocking && assembled_.volume->has_direct_access() &&
                     (settings.engine == MountSettings::Engine::io_uring || assembled_.volume->waits_for_devices());
  // A worker with a ring has two; there may turn out to be no rings.
  const unsigned count = settings.workers ? *settings.workers * (rings ? 2 : 1) : fuse::kDefaultWorkers;
  auto descriptors = fuse::clone_descriptors(channel_.descriptor, count);
  if (!descriptors) return fail(descriptors.error());
  disk_.emplace(*assembled_.volume);
  fuse::OperationsOptions look;
  look.root = channel_.root;
  look.block_size = assembled_.volume->block_geometry().block_size();
  // Who may open the primary may open the disk.
  struct stat primary {};
  if (spec_.settings.allow_other && ::stat(assembled_.volume->info().primary_path.c_str(), &primary) == 0) {
    look.uid = primary.st_uid;
    look.gid = primary.st_gid;
    look.mode = primary.st_mode & 0777U;
  }
  operations_.emplace(*disk_, look);
  fuse::TransportOptions options;
  options.connection = channel_.connection;
  if (rings) options.direct_disk = &*disk_;
  options.ring_workers = settings.workers.value_or(0);
  auto transport = fuse::Transport::start(std::move(*descriptors), fuse::Operations::table(), &*operations_, options);
  if (!transport) return fail(transport.error());
  transport_ = std::move(*transport);
  serving_ = true;
  return {};
}

Result<void> Service::start_control() {
  if (auto prepared = prepare_runtime_directory(world_.place); !prepared) return prepared;
  target_.emplace(
      *assembled_.volume, [this](StatusReport& report) { describe_status(report); },
      [this] { return requests_.ask(); });
  auto server = ControlServer::start(socket_path(world_.place, assembled_.volume->info().uuid), *target_);
  if (!server) return fail(server.error());
  server_ = std::move(*server);
  return {};
}

// The mount was visible for a moment: nobody was told of it, but somebody may have looked in. Its connection is closed
// first, so that whoever does gets an error and cannot hold it.
void Service::undo_start() {
  if (target_) target_->detach();
  requests_.answer_for_good(fail(Errc::failed, "the mount failed, this volume, see what mount said"));
  if (server_) server_->stop();
  if (assembled_.volume) assembled_.volume->interrupt_waits();
  transport_.reset();
  channel_.descriptor.reset();
  if (mounted_) std::ignore = fuse::unmount_fuse(channel_.mount_point);
  if (assembled_.volume) std::ignore = assembled_.volume->close();
  assembled_.volume.reset();
  udev_.withdraw();
}

void Service::describe_status(StatusReport& report) const {
  if (!serving_) return;
  report.mounted = true;
  report.degraded = assembled_.degraded;
  report.mountpoint = channel_.mount_point;
  report.daemon_pid = ::getpid();
  report.engine = transport_->info().engine;
  report.transport = transport_figures(transport_->info(), channel_.connection);
  report.hardening = hardening_.lines;
  report.primary = assembled_.primary;
}

void Service::log_event(const Event& event) const {
  const std::string line = event.block ? fmt::format("{}: block {}: {}", event.kind, event.block->value(), event.detail)
                                       : fmt::format("{}: {}", event.kind, event.detail);
  event.kind == kMountEvent || event.kind == kUnmountEvent ? log_info(line) : log_warning(line);
}

// A line in the volume's history; that it cannot be written is no reason to stop.
void Service::record(std::string kind, std::string detail) {
  if (spec_.settings.read_only) return;
  const auto recorded = assembled_.volume->record_event({std::move(kind), std::nullopt, std::move(detail)});
  if (!recorded) log_warning(fmt::format("history not written: {}", describe(recorded.error())));
}

std::vector<fuse::MountEntry> Service::our_mounts() const {
  if (!channel_.connection) {
    const auto entry = fuse::find_mount(channel_.mount_point);
    return entry && *entry ? std::vector{**entry} : std::vector<fuse::MountEntry>{};
  }
  auto mounts = fuse::mounts_of_device(0, *channel_.connection);
  return mounts ? std::move(*mounts) : std::vector<fuse::MountEntry>{};
}

Result<void> Service::try_unmount() {
  const auto mounts = our_mounts();
  mounted_ = !mounts.empty();  // somebody else may have taken it away
  if (!mounted_) return {};
  if (mounts.size() > 1) {
    return fail(Errc::busy, fmt::format("mounted in a second place, {}, unmount that first", mounts.back().mount_point),
                EBUSY);
  }
  channel_.mount_point = mounts.front().mount_point;  // a folder above it may have been renamed
  const auto on_top = fuse::find_mount(channel_.mount_point);
  if (on_top && *on_top && (*on_top)->device_minor != mounts.front().device_minor) {
    return fail(Errc::busy,
                fmt::format("something is mounted over it, {} ({}), unmount that first", channel_.mount_point,
                            (*on_top)->source),
                EBUSY);
  }
  auto unmounted = fuse::unmount_fuse(channel_.mount_point);
  // Somebody else took it away (perhaps lazily): what is left are the users of open files, whom we serve to the end.
  if (unmounted || unmounted.error().code == Errc::not_found) {
    mounted_ = false;
    notify_service_manager(world_.notify_socket, "STOPPING=1\nSTATUS=unmounting");
    return {};
  }
  if (unmounted.error().code != Errc::busy) return unmounted;
  const std::string users = describe(busy_users(channel_.mount_point, world_.views));
  return fail(Errc::busy,
              fmt::format("in use, {} ({}), close it and try again", channel_.mount_point,
                          users.empty() ? "by somebody who cannot be seen from here" : users),
              EBUSY);
}

void Service::handle_signals() {
  signalfd_siginfo signal{};
  while (::read(signals_.get(), &signal, sizeof signal) == static_cast<ssize_t>(sizeof signal)) {
    if (is_reload(signal)) {
      reload();
      continue;
    }
    const auto unmounted = try_unmount();
    if (unmounted) continue;
    log_error(fmt::format("signal {}: not unmounted: {}", signal.ssi_signo, describe(unmounted.error())));
    notify_service_manager(world_.notify_socket, "STATUS=" + one_line(describe(unmounted.error())));
  }
}

bool Service::is_reload(const signalfd_siginfo& signal) const {
  return signal.ssi_signo == SIGHUP && (!spec_.foreground || !world_.notify_socket.empty());
}

void Service::reload() {
  notify_service_manager(world_.notify_socket, reloading_message());
  log_info(fmt::format("reload: {} is served on, its options are fixed until it is unmounted", channel_.mount_point));
  tell_udev();
  notify_service_manager(world_.notify_socket, "READY=1");
}

void Service::tell_udev() {
  const std::string disk = channel_.mount_point + (channel_.root == fuse::RootKind::directory ? "/disk" : "");
  if (const auto told = udev_.serving(assembled_.volume->info(), disk); !told) log_warning(describe(told.error()));
}

bool Service::connection_ended() const {
  pollfd connection{channel_.descriptor.get(), 0, 0};
  return ::poll(&connection, 1, 0) == 1 && (connection.revents & POLLERR) != 0;
}

void Service::run() {
  std::atomic<bool> ended = false;
  std::thread waiter([&] {
    const auto end = transport_->wait();
    if (!end) log_error(fmt::format("serving ended: {}", describe(end.error())));
    ended = true;
    requests_.wake();
  });
  Watchdog watchdog(world_.notify_socket, world_.watchdog);
  pollfd entries[2] = {{signals_.get(), POLLIN, 0}, {requests_.descriptor(), POLLIN, 0}};
  // Who waits for a device does not see the connection end. It is looked at now and then, and not polled with the rest:
  // every request wakes whoever polls it, for whatever event.
  const bool watch = spec_.settings.on_loss == OnLoss::wait;
  while (!ended) {
    const int ready = watchdog.poll(entries, requests_.any() ? kUnmountPatienceMs : watch ? kConnectionCheckMs : -1);
    requests_.clear_wake();
    handle_signals();
    if (watch && connection_ended()) assembled_.volume->interrupt_waits();
    if (!requests_.any()) continue;
    // Success is answered at the very end, when the map is closed.
    if (const auto unmounted = try_unmount(); !unmounted) {
      requests_.answer_all(fail(unmounted.error()));
    } else if (ready == 0) {
      requests_.answer_all(fail(
          Errc::busy,
          fmt::format("unmounted here but still in use, {} (in another mount namespace, or files open in a mount that "
                      "was taken away lazily), end that or use --force",
                      channel_.mount_point),
          EBUSY));
    }
  }
  waiter.join();
}

Result<void> Service::finish() {
  target_->detach();
  transport_.reset();
  channel_.descriptor.reset();
  if (mounted_ && !our_mounts().empty()) {
    // The connection was aborted, or serving broke down: what is left answers errors only.
    if (const auto unmounted = fuse::unmount_fuse(channel_.mount_point); !unmounted) {
      log_error(fmt::format("cannot unmount: {}", describe(unmounted.error())));
    }
  }
  record(kUnmountEvent, fmt::format("from {}", channel_.mount_point));
  const std::string map_path = spec_.map_path;
  Result<void> closed = assembled_.volume->close();
  if (!closed) {
    closed = fail(closed.error().code,
                  fmt::format("unmounted, but what was written last may not be stored, {} ({}), check its devices and "
                              "run remapfs check",
                              map_path, describe(closed.error())),
                  closed.error().os_errno);
    log_error(describe(closed.error()));
  }
  assembled_.volume.reset();
  udev_.withdraw();
  if (spec_.remove_mount_point) ::rmdir(spec_.mount_point.c_str());
  requests_.answer_for_good(closed ? Result<Outcome>(Outcome::done) : Result<Outcome>(fail(closed.error())));
  server_->stop();
  return closed;
}

}  // namespace

Result<int> serve(const ServiceSpec& spec, const World& world, Readiness& readiness) {
  int exit_code = kExitDone;
  {
    Service service(spec, world);
    if (auto started = service.start(); !started) {
      close_log();
      return fail(started.error());
    }
    readiness.ready();
    notify_service_manager(world.notify_socket, fmt::format("READY=1\nSTATUS=serving {}", spec.mount_point));
    service.run();
    if (!service.finish()) exit_code = kExitCouldNot;
  }
  log_info("ended");
  close_log();
  return exit_code;
}

}  // namespace remapfs::cli
