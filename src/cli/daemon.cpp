// SPDX-License-Identifier: Apache-2.0
#include "cli/daemon.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <memory>
#include <thread>
#include <vector>

#include "cli/assemble.hpp"
#include "cli/descriptor_passing.hpp"
#include "cli/device_service.hpp"
#include "cli/end_requests.hpp"
#include "cli/event_log.hpp"
#include "cli/keeper_watch.hpp"
#include "cli/log.hpp"
#include "cli/output.hpp"
#include "cli/process.hpp"
#include "cli/service_figures.hpp"
#include "cli/service_manager.hpp"
#include "cli/service_signals.hpp"
#include "cli/succession.hpp"
#include "cli/udev_notice.hpp"
#include "cli/watchdog.hpp"
#include "control/server.hpp"
#include "control/volume_target.hpp"
#include "fuse/operations.hpp"
#include "fuse/process_hardening.hpp"
#include "fuse/session.hpp"
#include "fuse/transport.hpp"
#include "fuse/volume_disk.hpp"

namespace remapfs::cli {
namespace {

constexpr const char* kRestartEvent = "restart";
constexpr const char* kUpgradeEvent = "upgrade";
// A connection whose last mount is gone ends at once, unless it is in use where we cannot see it.
constexpr int kUnmountPatienceMs = 5000;
constexpr int kConnectionCheckMs = 1000;
// A killed process's locks go with its last transfer in flight, which a failing disk may hold up. Somebody who mounts
// is told after a while; who goes on with a mount has no other choice than to wait: what is still in flight could land
// on newer data.
constexpr auto kMountLockWait = std::chrono::seconds(5);
constexpr auto kFenceWait = std::chrono::hours(24);

tl::unexpected<Error> not_yet() { return fail(Errc::busy, "it is being mounted, this volume, ask again"); }

// One process's service of a mount.
class Service {
 public:
  Service(const ServiceSpec& spec, const World& world, Lifeline lifeline, std::optional<Inheritance> inheritance)
      : spec_(spec), world_(world), lifeline_(lifeline), inheritance_(std::move(inheritance)) {}

  Result<void> start();
  void run();
  // After run(): ends what start() began. What it says is what the last flush and close said.
  Result<void> finish();

 private:
  [[nodiscard]] Handover& handover() const { return *lifeline_.handover; }
  Result<void> start_transport();
  Result<void> start_control();
  void undo_start();
  // The descriptors go to who keeps them.
  Result<void> leave_descriptors();
  void tell_the_start();
  void describe_status(StatusReport& report) const;
  [[nodiscard]] nlohmann::ordered_json survival() const;
  void record(std::string kind, std::string detail);
  Result<void> try_unmount();
  void handle_signals();
  // SIGHUP asks a service to look around again; a program on a terminal is told by it that the terminal has gone.
  [[nodiscard]] bool is_reload(const signalfd_siginfo& signal) const;
  void reload();
  void tell_udev();
  void handle_unmount_requests(bool waited_long);
  void handle_upgrade();
  Result<void> check_can_leave();
  // Errors: interrupted, when a signal has come that ends the service before it began.
  Result<void> go_on();

  const ServiceSpec& spec_;
  const World& world_;
  const Lifeline lifeline_;
  std::optional<Inheritance> inheritance_;
  UdevPost udev_{world_};
  UniqueFd signals_;
  KeeperWatch keeper_{lifeline_.handover, !world_.notify_socket.empty(), world_.views};
  EndRequests requests_;
  fuse::HardeningReport hardening_;
  AssembledVolume assembled_;
  std::optional<fuse::VolumeDisk> disk_;
  std::optional<fuse::Operations> operations_;
  std::optional<ServedMount> mount_;
  std::unique_ptr<fuse::Transport> transport_;
  std::optional<Scrubber> scrubber_;
  std::optional<Replacer> replacer_;
  std::optional<VolumeTarget> target_;
  std::unique_ptr<ControlServer> server_;
  bool inherited_ = false;
  bool leaving_to_successor_ = false;
  std::atomic<bool> survivable_ = false;
  // What start_transport() made may be looked at by the control server's threads, until target_ is detached.
  std::atomic<bool> serving_ = false;
};

Result<void> Service::start() {
  fuse::HardeningWishes wishes;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  wishes.lock_memory = false;  // a sanitizer's shadow cannot be locked
#endif
  fuse::limit_thread_stacks();
  hardening_ = fuse::harden_process(wishes);
  signals_ = take_over_signals();
  open_log(spec_.foreground ? LogPlace::terminal : LogPlace::syslog);
  inherited_ = inheritance_.has_value();

  AssembleOptions how;
  how.read_only = spec_.settings.read_only;
  how.degraded = spec_.settings.degraded;
  how.on_loss = spec_.settings.on_loss;
  how.on_event = log_event;
  how.before_devices = [this](const VolumeInfo& info) {
    if (inherited_) return;  // udev was told when the mount was made
    if (const auto told = udev_.before_devices(info); !told) log_warning(describe(told.error()));
  };
  how.views = world_.views;
  how.lock_wait = inherited_ ? std::chrono::milliseconds(kFenceWait) : kMountLockWait;
  how.memory = &handover().volume;
  how.goes_on = inherited_;
  auto assembled = assemble(spec_.map_path, how);
  if (!assembled) {
    udev_.withdraw();  // nothing, when the notice is of a mount that is there
    return fail(assembled.error());
  }
  assembled_ = std::move(*assembled);

  auto started = go_on();
  // Whoever sees the mount finds the control socket.
  if (started) started = start_control();
  if (started) started = start_transport();
  if (started) started = go_on();
  // Who is told that it is served finds what udev makes of it.
  if (started) tell_udev();
  if (started) started = leave_descriptors();
  if (!started) {
    undo_start();
    return started;
  }
  if (!keeper_.look_after(*mount_)) survivable_ = false;
  tell_the_start();
  return {};
}

void Service::tell_the_start() {
  for (const std::string& warning : assembled_.warnings) log_warning(warning);
  for (const std::string& line : hardening_.lines) log_info(line);
  if (!transport_->info().no_uring.empty()) {
    log_warning(fmt::format("io_uring is not used, {}, transfers are slower", transport_->info().no_uring));
  }
  if (!survivable_) {
    log_warning(fmt::format("{}, this mount, it ends with the process that serves it",
                            survival()["reason"].get<std::string>()));
  }
  if (!inherited_) {
    record(kMountEvent, fmt::format("at {}", mount_->mount_point()));
  } else if (inheritance_->upgraded) {
    record(kUpgradeEvent, fmt::format("process {} goes on", ::getpid()));
  } else {
    record(kRestartEvent, restart_in_words(handover()));
  }
  log_info(fmt::format("{} serves {} ({}, {})", spec_.map_path, mount_->mount_point(), assembled_.volume->info().uuid,
                       transport_->info().describe()));
}

Result<void> Service::go_on() {
  if (inherited_) return {};  // signals are for the mount, and it is there
  signalfd_siginfo signal{};
  while (::read(signals_.get(), &signal, sizeof signal) == static_cast<ssize_t>(sizeof signal)) {
    if (is_reload(signal)) continue;
    return fail(Errc::interrupted, fmt::format("interrupted, {}, mount it again", spec_.map_path));
  }
  return {};
}

Result<void> Service::start_transport() {
  const MountSettings& settings = spec_.settings;
  const bool rings = settings.engine != MountSettings::Engine::blocking && assembled_.volume->has_direct_access() &&
                     (settings.engine == MountSettings::Engine::io_uring || assembled_.volume->waits_for_devices());
  if (inherited_) {
    mount_.emplace(inheritance_->record, std::move(inheritance_->descriptors));
  } else {
    // A worker with a ring has two; there may turn out to be no rings.
    auto made =
        ServedMount::make(spec_, settings.workers ? *settings.workers * (rings ? 2 : 1) : fuse::kDefaultWorkers);
    if (!made) return fail(made.error());
    mount_.emplace(std::move(*made));
  }
  auto descriptors = mount_->for_transport();
  if (!descriptors) return fail(descriptors.error());
  descriptors->resend = inherited_ && inheritance_->resend;

  disk_.emplace(*assembled_.volume);
  fuse::OperationsOptions look;
  look.root = mount_->record().root;
  look.block_size = assembled_.volume->block_geometry().block_size();
  // Who may open the primary may open the disk.
  struct stat primary {};
  if (spec_.settings.allow_other && ::stat(assembled_.volume->info().primary_path.c_str(), &primary) == 0) {
    look.uid = primary.st_uid;
    look.gid = primary.st_gid;
    look.mode = primary.st_mode & 0777U;
  }
  operations_.emplace(*disk_, look, &handover().mount);
  fuse::TransportOptions options;
  options.connection = mount_->record().connection;
  if (rings) options.direct_disk = &*disk_;
  options.ring_workers = settings.workers.value_or(0);
  auto transport = fuse::Transport::start(std::move(*descriptors), fuse::Operations::table(), &*operations_, options);
  if (!transport) return fail(transport.error());
  transport_ = std::move(*transport);
  mount_->note_init(transport_->init_exchange());
  serving_ = true;
  return {};
}

Result<void> Service::start_control() {
  if (auto prepared = prepare_runtime_directory(world_.place); !prepared) return prepared;
  scrubber_.emplace(*assembled_.volume, /*go_on=*/!spec_.settings.read_only);
  VolumeTarget::Service service;
  replacer_.emplace(*assembled_.volume, [this] { tell_udev(); });
  const DeviceService devices{
      *assembled_.volume,     *scrubber_, *replacer_, world_.views, [this] { return mount_->mount_point(); },
      [this] { tell_udev(); }};
  service.scrub = [devices](const ScrubRequest& request) { return devices.scrub(request); };
  service.add_spare = [this, devices](const std::string& path) -> Result<Outcome> {
    if (!serving_) return not_yet();
    return devices.add_spare(path);
  };
  service.replace = [this, devices](const ReplaceRequest& request) -> Result<JobReply> {
    if (!serving_ && request.action == ReplaceAction::start) return not_yet();
    return devices.replace(request);
  };
  service.describe = [this](StatusReport& report) { describe_status(report); };
  service.unmount = [this] { return requests_.ask_to_unmount(); };
  service.upgrade = [this](const std::string& program) -> Result<Outcome> {
    if (!serving_) return not_yet();
    if (replacer_->copies()) {
      return fail(Errc::busy, fmt::format("the primary is being replaced, which would begin anew, {}, wait for that or "
                                          "run remapfs replace --stop",
                                          mount_->mount_point()));
    }
    if (auto fit = check_successor(program, lifeline_.handover, mount_->record(), world_.views); !fit) {
      return fail(fit.error());
    }
    return requests_.ask_to_upgrade(program);
  };
  target_.emplace(*assembled_.volume, std::move(service));
  auto server = ControlServer::start(socket_path(world_.place, assembled_.volume->info().uuid), *target_);
  if (!server) return fail(server.error());
  server_ = std::move(*server);
  return {};
}

Result<void> Service::leave_descriptors() {
  handover().worker_start = start_of_process(::getpid());
  handover().worker = ::getpid();
  if (!inherited_) {
    if (auto written = write_record(handover(), mount_->record()); !written) return written;
    const std::vector<int> all = mount_->descriptors();
    for (std::size_t sent = 0; sent < all.size() && lifeline_.wire >= 0; sent += kMostPassedAtOnce) {
      const std::size_t count = std::min(kMostPassedAtOnce, all.size() - sent);
      auto left = send_message(lifeline_.wire, kKeepThese, std::span(all).subspan(sent, count));
      if (!left) return left;
    }
  }
  survivable_ = fuse::can_resend(mount_->record().init.request);
  handover().stage = Handover::Stage::serving;
  return lifeline_.wire >= 0 ? keeper_.tell_serving(lifeline_.wire, inherited_) : Result<void>();
}

// The mount was visible for a moment: nobody was told of it, but somebody may have looked in. Its connection is closed
// first, so that whoever does gets an error and cannot hold it. A mount that others use stays as it is.
void Service::undo_start() {
  if (target_) target_->detach();
  requests_.answer_for_good(fail(Errc::failed, "the mount failed, this volume, see what mount said"));
  if (server_) server_->stop();
  if (assembled_.volume) assembled_.volume->interrupt_waits();
  if (replacer_) std::ignore = replacer_->stop();  // it may still be asked how it is
  scrubber_.reset();
  transport_.reset();
  if (mount_ && !inherited_) {
    mount_->close_descriptors();
    std::ignore = mount_->unmount_dead();
  }
  if (assembled_.volume) std::ignore = assembled_.volume->close();
  assembled_.volume.reset();
  udev_.withdraw();
}

void Service::describe_status(StatusReport& report) const {
  report.scrub = scrubber_->status();
  report.replacement = replacer_->status();
  if (!serving_) return;
  const Handover& shared = handover();
  report.mounted = true;
  report.degraded = assembled_.degraded;
  report.waits_on_loss = spec_.settings.on_loss == OnLoss::wait;
  report.mountpoint = mount_->mount_point();
  report.daemon_pid = shared.keeper.load();
  report.worker_pid = ::getpid();
  report.survival = survival();
  report.engine = transport_->info().engine;
  report.transport = transport_figures(transport_->info(), mount_->record().connection);
  report.hardening = hardening_.lines;
  report.primary = assembled_.volume->primary_geometry();
  report.latencies = operations_->latencies();
}

nlohmann::ordered_json Service::survival() const {
  return survival_figures(handover(), fuse::can_resend(mount_->record().init.request), survivable_);
}

// A line in the volume's history; that it cannot be written is no reason to stop.
void Service::record(std::string kind, std::string detail) {
  if (spec_.settings.read_only) return;
  const auto recorded = assembled_.volume->record_event({std::move(kind), std::nullopt, std::move(detail)});
  if (!recorded) log_warning(fmt::format("history not written: {}", describe(recorded.error())));
}

Result<void> Service::try_unmount() {
  auto unmounted = mount_->unmount(world_.views);
  if (unmounted) notify_service_manager(world_.notify_socket, "STOPPING=1\nSTATUS=unmounting");
  return unmounted;
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
  log_info(fmt::format("reload: {} is served on, its options are fixed until it is unmounted", mount_->mount_point()));
  tell_udev();
  notify_service_manager(world_.notify_socket, "READY=1");
}

void Service::tell_udev() {
  const std::string disk = mount_->mount_point() + (mount_->record().root == fuse::RootKind::directory ? "/disk" : "");
  if (const auto told = udev_.serving(assembled_.volume->info(), disk); !told) log_warning(describe(told.error()));
}

void Service::handle_unmount_requests(bool waited_long) {
  if (!requests_.unmount_wanted()) return;
  // Success is answered at the very end, when the map is closed.
  if (const auto unmounted = try_unmount(); !unmounted) {
    requests_.answer_unmount(fail(unmounted.error()));
  } else if (waited_long) {
    requests_.answer_unmount(fail(
        Errc::busy,
        fmt::format("unmounted here but still in use, {} (in another mount namespace, or files open in a mount that "
                    "was taken away lazily), end that or use --force",
                    mount_->mount_point()),
        EBUSY));
  }
}

void Service::handle_upgrade() {
  while (!leaving_to_successor_) {  // who asks after that is answered at the end
    auto upgrade = requests_.take_upgrade();
    if (!upgrade) return;
    auto fit = check_can_leave();
    if (fit) {
      log_info(fmt::format("{} goes on", upgrade->program));
      put_text(handover().successor, upgrade->program);
      leaving_to_successor_ = true;
      assembled_.volume->interrupt_waits();
      transport_->stop();
    }
    upgrade->answer.set_value(fit ? Result<Outcome>(Outcome::done) : fail(fit.error()));
  }
}

// Requests that wait for a device would be answered with errors, and who cannot open it cannot go on.
Result<void> Service::check_can_leave() {
  const std::string where = mount_->mount_point();
  if (assembled_.volume->status().suspended) {
    return fail(Errc::suspended, fmt::format("a device does not work, {}, mend it and run remapfs resume", where));
  }
  if (keeper_.lives()) return {};
  return fail(Errc::unsupported, fmt::format("no process keeps its descriptors, {}, unmount and mount it", where));
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
  // Who waits for a device does not see the connection end. It is looked at now and then, and not polled with the rest:
  // every request wakes whoever polls it, for whatever event.
  const bool watch = spec_.settings.on_loss == OnLoss::wait;
  while (!ended) {
    pollfd entries[3] = {
        {signals_.get(), POLLIN, 0}, {requests_.descriptor(), POLLIN, 0}, {keeper_.descriptor(), POLLIN, 0}};
    const bool unmounting = requests_.unmount_wanted();
    const int patience = unmounting ? kUnmountPatienceMs : watch ? kConnectionCheckMs : -1;
    const int ready = watchdog.poll(entries, patience);
    requests_.clear_wake();
    handle_signals();
    if (!keeper_.look_after(*mount_)) survivable_ = false;
    if (watch && mount_->connection_ended()) assembled_.volume->interrupt_waits();
    handle_unmount_requests(unmounting && ready == 0);
    handle_upgrade();
  }
  waiter.join();
}

Result<void> Service::finish() {
  target_->detach();
  std::ignore = replacer_->stop();  // it may still be asked how it is
  scrubber_.reset();
  transport_.reset();
  // Told to go while the mount went away: there is nothing to leave.
  if (mount_->connection_ended()) leaving_to_successor_ = false;
  if (!leaving_to_successor_) {
    mount_->close_descriptors();
    if (const auto unmounted = mount_->unmount_dead(); !unmounted) {
      log_error(fmt::format("cannot unmount: {}", describe(unmounted.error())));
    }
    record(kUnmountEvent, fmt::format("from {}", mount_->mount_point()));
  }
  Result<void> closed = assembled_.volume->close();
  if (!closed) {
    closed = fail(closed.error().code,
                  fmt::format("unmounted, but what was written last may not be stored, {} ({}), check its devices and "
                              "run remapfs check",
                              spec_.map_path, describe(closed.error())),
                  closed.error().os_errno);
    log_error(describe(closed.error()));
  }
  assembled_.volume.reset();
  if (leaving_to_successor_) {
    requests_.answer_for_good(fail(Errc::busy, "another program is taking over, this volume, ask again"));
  } else {
    udev_.withdraw();
    if (spec_.remove_mount_point) ::rmdir(spec_.mount_point.c_str());
    requests_.answer_for_good(closed ? Result<Outcome>(Outcome::done) : Result<Outcome>(fail(closed.error())));
  }
  server_->stop();
  handover().exit_code = closed ? kExitDone : kExitCouldNot;
  handover().stage = leaving_to_successor_ ? Handover::Stage::upgrading : Handover::Stage::ended;
  return closed;
}

}  // namespace

Result<int> serve(const ServiceSpec& spec, const World& world, Lifeline lifeline,
                  std::optional<Inheritance> inheritance) {
  int exit_code = kExitDone;
  {
    Service service(spec, world, lifeline, std::move(inheritance));
    if (auto started = service.start(); !started) {
      close_log();
      return fail(started.error());
    }
    service.run();
    if (!service.finish()) exit_code = kExitCouldNot;
  }
  log_info("ended");
  close_log();
  return exit_code;
}

}  // namespace remapfs::cli
