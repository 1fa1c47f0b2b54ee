// SPDX-License-Identifier: Apache-2.0
#include "cli/keeper.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

#include "cli/descriptor_passing.hpp"
#include "cli/process.hpp"
#include "cli/restart_policy.hpp"
#include "cli/service_manager.hpp"
#include "cli/service_signals.hpp"
#include "cli/stored_mount.hpp"
#include "cli/succession.hpp"
#include "cli/system_log.hpp"
#include "cli/watchdog.hpp"
#include "fuse/mount_point.hpp"
#include "fuse/process_hardening.hpp"
#include "fuse/session.hpp"

namespace remapfs::cli {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// When no process can be made at all.
constexpr milliseconds kForkPause{5000};
constexpr milliseconds kSuccessorPatience{120'000};

// The limit of descriptors that a login shell has is low for many workers, each of which has several.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// Serves, and leaves word of how it ended. Returns the exit code.
int serve_and_tell(const ServiceSpec& spec, const World& world, SharedHandover& handover, int wire,
                   std::optional<Inheritance> inheritance) {
  auto served = serve(spec, world, {handover, wire}, std::move(inheritance));
  if (served) return *served;
  put_error(*handover, served.error());
  handover->stage = Handover::Stage::refused;
  return kExitMount;
}

class Keeper {
 public:
  Keeper(const ServiceSpec& spec, const World& world, SharedHandover handover, Readiness& readiness)
      : spec_(spec),
        world_(world),
        readiness_(readiness),
        ready_text_(fmt::format("READY=1\nSTATUS=serving {}", spec.mount_point)),
        handover_(std::move(handover)),
        watchdog_(world.notify_socket, world.watchdog) {
    descriptors_.fill(-1);
  }
  ~Keeper() { close_descriptors(); }
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  // There is a mount already, and perhaps somebody who serves it.
  void adopt(MountDescriptors descriptors);
  Result<int> run();

 private:
  enum class Next { wait, over };

  void prepare();
  [[nodiscard]] int patience() const;
  int wait_for(std::span<pollfd> entries);
  void pass_signals_on();
  void take_notices();
  void note_serving();
  // The result is in result_ when it is over.
  Next worker_ended();
  Next after_death(int signal);
  [[nodiscard]] bool connection_ended() const;
  Next give_up(const char* why);
  int reap();
  void start_worker(bool upgraded);
  [[noreturn]] void be_worker(UniqueFd wire, bool upgraded);
  void start_successor();
  void successor_failed();
  void become_successor();
  void run_successor(const char* role, int wire);
  void watch(pid_t process, UniqueFd wire);
  void close_descriptors();
  void say(int priority, const char* format, ...) __attribute__((format(printf, 3, 4)));

  const ServiceSpec& spec_;
  const World& world_;
  Readiness& readiness_;
  const std::string ready_text_;
  SharedHandover handover_;
  Watchdog watchdog_;
  std::optional<SystemLog> system_log_;  // none in the foreground
  UniqueFd signals_;
  UniqueFd wire_;
  UniqueFd worker_;  // a pidfd; none while nobody serves
  pid_t worker_pid_ = -1;
  std::array<int, kMostMountDescriptors> descriptors_{};
  std::size_t count_ = 0;
  bool can_resend_ = false;
  bool ever_served_ = false;
  bool serving_ = false;
  bool succeeding_ = false;  // the one that serves is another program, on trial
  Clock::time_point serving_since_;
  Clock::time_point succeeding_since_;
  Clock::time_point start_at_;  // while nobody serves
  RestartPolicy restarts_;
  Result<int> result_ = kExitDone;
};

// Never waits for who reads it: that may wait for the mount. Allocates nothing, which dprintf() would.
void Keeper::say(int priority, const char* format, ...) {
  constexpr std::string_view kName = "remapfs: ";
  std::array<char, 1024> text;
  std::copy(kName.begin(), kName.end(), text.begin());
  char* const message = text.data() + kName.size();
  const std::size_t room = text.size() - kName.size() - 1;  // without the end of the line
  va_list values;
  va_start(values, format);
  const int written = std::vsnprintf(message, room, format, values);
  va_end(values);
  const std::size_t length = std::min(static_cast<std::size_t>(std::max(written, 0)), room - 1);
  if (system_log_) {
    system_log_->say(priority, {message, length});
    return;
  }
  message[length] = '\n';
  pollfd terminal{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&terminal, 1, 0) != 1 || (terminal.revents & POLLOUT) == 0) return;
  std::ignore = ::write(STDERR_FILENO, text.data(), kName.size() + length + 1);
}

void Keeper::prepare() {
  raise_descriptor_limit();
  fuse::HardeningWishes wishes;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  wishes.lock_memory = false;
#endif
  std::ignore = fuse::harden_process(wishes);
  if (!spec_.foreground) system_log_.emplace();
  signals_ = take_over_signals();
  handover_->keeper = ::getpid();
}

void Keeper::adopt(MountDescriptors descriptors) {
  descriptors_[0] = descriptors.channel.release();
  count_ = 1;
  for (UniqueFd& worker : descriptors.workers) {
    if (count_ < descriptors_.size()) descriptors_[count_++] = worker.release();
  }
  const auto record = read_record(*handover_);
  can_resend_ = record && fuse::can_resend(record->init.request);
  ever_served_ = true;
  const pid_t worker = handover_->worker;
  UniqueFd process = open_process(worker);
  // Its number may have been given to somebody else since; where that cannot be told, it was not.
  const std::uint64_t started = start_of_process(worker);
  const std::uint64_t expected = handover_->worker_start;
  const bool lives = process && (started == expected || started == 0 || expected == 0);
  const bool served = handover_->stage == Handover::Stage::serving;
  if (served && lives) {
    worker_ = std::move(process);
    worker_pid_ = worker;
    serving_ = true;
    serving_since_ = Clock::now();
  } else {
    if (served) handover_->restarts.fetch_add(1);
    start_at_ = Clock::now();
  }
}

Result<int> Keeper::run() {
  prepare();
  if (!ever_served_) start_worker(false);
  if (!ever_served_ && !worker_) return fail(Errc::no_memory, "cannot start the daemon, fork, free memory", errno);
  if (serving_) note_serving();
  for (;;) {
    // A signal that comes while nobody serves waits for the next process, which has it blocked from the start.
    pollfd entries[3] = {{worker_ ? signals_.get() : -1, POLLIN, 0},
                         {wire_ ? wire_.get() : -1, POLLIN, 0},
                         {worker_ ? worker_.get() : -1, POLLIN, 0}};
    if (wait_for(entries) < 0 && errno != EINTR) return fail(Errc::device_other, errno);
    pass_signals_on();
    take_notices();
    if (worker_ && (entries[2].revents & POLLIN) != 0 && worker_ended() == Next::over) return std::move(result_);
    if (!worker_ && Clock::now() >= start_at_) start_worker(false);
    if (succeeding_ && Clock::now() - succeeding_since_ > kSuccessorPatience) ::kill(worker_pid_, SIGKILL);
  }
}

int Keeper::patience() const {
  const auto until = [](Clock::time_point when) {
    const auto left = std::chrono::ceil<milliseconds>(when - Clock::now()).count();
    return static_cast<int>(std::clamp<long long>(left, 0, 1'000'000));
  };
  if (!worker_) return until(start_at_);
  return succeeding_ ? until(succeeding_since_ + kSuccessorPatience) + 1 : -1;
}

// Who serves gives the signs of life; until he does, who waits for him.
int Keeper::wait_for(std::span<pollfd> entries) {
  if (!serving_) return watchdog_.poll(entries, patience());
  return ::poll(entries.data(), static_cast<nfds_t>(entries.size()), patience());
}

void Keeper::pass_signals_on() {
  if (!worker_) return;
  signalfd_siginfo signal{};
  while (::read(signals_.get(), &signal, sizeof signal) == static_cast<ssize_t>(sizeof signal)) {
    ::kill(worker_pid_, static_cast<int>(signal.ssi_signo));
  }
}

void Keeper::take_notices() {
  while (wire_) {
    const auto message = take_message(wire_.get(), std::span(descriptors_).subspan(count_));
    if (!message) {
      if (message.error().code != Errc::timeout) wire_.reset();
      return;
    }
    if (message->what == kKeepThese) count_ += message->count;
    if (message->what == kServing) note_serving();
  }
}

void Keeper::note_serving() {
  serving_ = true;
  serving_since_ = Clock::now();
  if (!ever_served_) {
    ever_served_ = true;
    const auto record = read_record(*handover_);
    can_resend_ = record && fuse::can_resend(record->init.request);
    store_mount(world_.notify_socket, handover_.descriptor(), std::span(descriptors_).first(count_));
  }
  readiness_.ready();
  notify_service_manager(world_.notify_socket, ready_text_);
  if (succeeding_) become_successor();
}

int Keeper::reap() {
  int status = 0;
  worker_.reset();
  wire_.reset();
  pid_t ended = -1;
  do {
    ended = ::waitpid(worker_pid_, &status, 0);
  } while (ended < 0 && errno == EINTR);
  // Somebody else's child, if it served before we came.
  if (ended != worker_pid_) return 0;
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

Keeper::Next Keeper::worker_ended() {
  const int signal = reap();
  const auto served = std::chrono::duration_cast<milliseconds>(Clock::now() - serving_since_);
  restarts_.note_end(std::exchange(serving_, false) ? std::optional(served) : std::nullopt);
  const Handover::Stage stage = handover_->stage;
  if (stage == Handover::Stage::ended) {
    result_ = handover_->exit_code.load();
    if (ever_served_) forget_stored_mount(world_.notify_socket);
    return Next::over;
  }
  if (!ever_served_) {
    result_ = stage == Handover::Stage::refused
                  ? Result<int>(fail(error_in(*handover_)))
                  : Result<int>(fail(Errc::failed, fmt::format("the daemon died while it started, process {} (signal "
                                                               "{}), look at the system log",
                                                               worker_pid_, signal)));
    return Next::over;
  }
  if (succeeding_) {
    successor_failed();
    start_worker(true);
    return Next::wait;
  }
  if (stage == Handover::Stage::upgrading) {
    start_successor();
    return Next::wait;
  }
  return after_death(signal);
}

bool Keeper::connection_ended() const {
  pollfd connection{count_ > 0 ? descriptors_[0] : -1, 0, 0};
  return ::poll(&connection, 1, 0) == 1 && (connection.revents & POLLERR) != 0;
}

Keeper::Next Keeper::after_death(int signal) {
  handover_->last_signal = signal;
  if (connection_ended()) return give_up("its connection was aborted");
  if (!can_resend_) return give_up("the kernel cannot send its requests again (Linux 6.9 can)");
  const bool killed = signal == SIGKILL || signal == SIGTERM || signal == SIGINT;
  const auto pause = restarts_.next(killed);
  if (!pause && handover_->stage == Handover::Stage::refused) say(LOG_ERR, "last: %s", handover_->message.data());
  if (!pause) return give_up(killed ? "it is killed again and again" : "it ends again and again");
  if (handover_->stage == Handover::Stage::refused) {
    say(LOG_ERR, "cannot go on with %s: %s: trying again", spec_.mount_point.c_str(), handover_->message.data());
  } else {
    say(LOG_WARNING, "process %d, which served %s, was ended by signal %d: another one goes on", worker_pid_,
        spec_.mount_point.c_str(), signal);
    handover_->restarts.fetch_add(1);
  }
  start_at_ = Clock::now() + *pause;
  return Next::wait;
}

Keeper::Next Keeper::give_up(const char* why) {
  close_descriptors();
  forget_stored_mount(world_.notify_socket);
  const bool gone = fuse::unmount_fuse(spec_.mount_point).has_value();
  say(LOG_CRIT, "process %d, which served %s, has ended and no other goes on: %s: run %sremapfs check, mount again",
      worker_pid_, spec_.mount_point.c_str(), why, gone ? "" : "remapfs unmount --force, ");
  result_ = kExitCouldNot;
  return Next::over;
}

void Keeper::watch(pid_t process, UniqueFd wire) {
  worker_pid_ = process;
  worker_ = open_process(process);
  wire_ = std::move(wire);
  handover_->worker = process;
}

void Keeper::start_worker(bool upgraded) {
  auto wire = Wire::create();
  handover_->stage = Handover::Stage::starting;
  const pid_t child = wire ? ::fork() : -1;
  if (child == 0) {
    wire->ours.reset();
    be_worker(std::move(wire->theirs), upgraded);
  }
  if (child < 0) {
    // No memory or too many processes: it may pass.
    start_at_ = Clock::now() + kForkPause;
    say(LOG_ERR, "cannot start a process to serve %s (errno %d): trying again", spec_.mount_point.c_str(), errno);
    return;
  }
  watch(child, std::move(wire->ours));
}

void Keeper::be_worker(UniqueFd wire, bool upgraded) {
  if (spec_.foreground) ::setpgid(0, 0);  // Ctrl-C comes through the keeper
  signals_.reset();
  readiness_.abandon();
  std::optional<Inheritance> inheritance;
  if (ever_served_) {
    auto record = read_record(*handover_);
    if (!record) {
      put_error(*handover_, record.error());
      handover_->stage = Handover::Stage::refused;
      ::_exit(kExitMount);
    }
    MountDescriptors descriptors;
    descriptors.channel.reset(descriptors_[0]);
    for (std::size_t i = 1; i < count_; ++i) descriptors.workers.emplace_back(descriptors_[i]);
    inheritance = Inheritance{std::move(*record), std::move(descriptors), can_resend_, upgraded};
  }
  // Not exit(): what the parent left to be done at exit is the parent's.
  ::_exit(serve_and_tell(spec_, world_, handover_, wire.get(), std::move(inheritance)));
}

// Runs the program that is to follow, in this process: returns only if it cannot be run.
void Keeper::run_successor(const char* role, int wire) {
  std::array<int, kMostGoOnDescriptors> all;
  std::size_t used = 0;
  all[used++] = handover_.descriptor();
  if (wire >= 0) all[used++] = wire;
  for (std::size_t i = 0; i < count_; ++i) all[used++] = descriptors_[i];
  become_go_on(handover_->successor.data(), role, spec_.map_path.c_str(), std::span(all).first(used));
}

void Keeper::start_successor() {
  say(LOG_INFO, "%s takes over %s", handover_->successor.data(), spec_.mount_point.c_str());
  auto wire = Wire::create();
  handover_->stage = Handover::Stage::starting;
  put_error(*handover_, Errc::failed, 0, "the new program ended before it served");
  const pid_t child = wire ? ::fork() : -1;
  if (child == 0) {
    run_successor(kRoleServe, wire->theirs.get());
    put_error(*handover_, Errc::failed, errno, "the new program cannot be run");
    ::_exit(kExitMount);
  }
  if (child < 0) {
    start_at_ = Clock::now();
    return;
  }
  watch(child, std::move(wire->ours));
  succeeding_ = true;
  succeeding_since_ = Clock::now();
}

void Keeper::successor_failed() {
  succeeding_ = false;
  handover_->refusals.fetch_add(1);
  say(LOG_ERR, "%s could not take over %s: %s: the old program goes on", handover_->successor.data(),
      spec_.mount_point.c_str(), handover_->message.data());
}

// The serving process stays the child of this one.
void Keeper::become_successor() {
  succeeding_ = false;
  handover_->message[0] = '\0';
  handover_->upgrades.fetch_add(1);
  run_successor(kRoleKeep, -1);
  say(LOG_ERR, "cannot run %s (errno %d): the old program keeps the descriptors of %s", handover_->successor.data(),
      errno, spec_.mount_point.c_str());
}

void Keeper::close_descriptors() {
  for (std::size_t i = 0; i < count_; ++i) ::close(std::exchange(descriptors_[i], -1));
  count_ = 0;
}

// The one who served was told to end, and nobody kept the mount when he did: there is none any more.
bool has_ended_in_order(const SharedHandover& handover) { return handover->stage == Handover::Stage::ended; }

}  // namespace

Result<int> keep(const ServiceSpec& spec, const World& world, Readiness& readiness) {
  StoredMount stored = take_stored_mount(world);
  if (stored.complete()) {
    auto handover = SharedHandover::open(std::move(stored.handover));
    if (!handover) return fail(handover.error());
    const auto record = read_record(**handover);
    if (!record) return fail(record.error());
    if (record->spec.map_path != spec.map_path) {
      return fail(Errc::busy, fmt::format("another volume's mount was kept for this service, {}, unmount that first",
                                          record->spec.map_path));
    }
    if (!has_ended_in_order(*handover)) {
      Keeper keeper(record->spec, world, std::move(*handover), readiness);
      keeper.adopt(std::move(stored.descriptors));
      return keeper.run();
    }
  }
  // What is not all there is of no use, and a new mount is to know nothing of an earlier one.
  stored = {};
  if (!world.stored_descriptors.empty()) forget_stored_mount(world.notify_socket);
  auto handover = SharedHandover::create();
  if (!handover) return fail(handover.error());
  Keeper keeper(spec, world, std::move(*handover), readiness);
  return keeper.run();
}

Result<int> keep_on(SharedHandover handover, MountDescriptors descriptors, const World& world) {
  const auto record = read_record(*handover);
  if (!record) return fail(record.error());
  if (has_ended_in_order(handover)) {
    forget_stored_mount(world.notify_socket);
    return handover->exit_code.load();
  }
  Readiness nobody;
  Keeper keeper(record->spec, world, std::move(handover), nobody);
  keeper.adopt(std::move(descriptors));
  return keeper.run();
}

int serve_on(SharedHandover handover, MountDescriptors descriptors, UniqueFd wire, const World& world) {
  auto record = read_record(*handover);
  if (!record) {
    put_error(*handover, record.error());
    handover->stage = Handover::Stage::refused;
    return kExitMount;
  }
  const ServiceSpec spec = record->spec;
  Inheritance inheritance{std::move(*record), std::move(descriptors), false, true};
  inheritance.resend = fuse::can_resend(inheritance.record.init.request);
  return serve_and_tell(spec, world, handover, wire.get(), std::move(inheritance));
}

}  // namespace remapfs::cli
