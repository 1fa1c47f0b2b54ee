// SPDX-License-Identifier: Apache-2.0
#include "disk_server.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

#include "control_socket.hpp"
#include "control_verbs.hpp"
#include "fault_engine.hpp"
#include "fuse_disk.hpp"
#include "mount_point.hpp"
#include "process_safety.hpp"
#include "rule.hpp"

namespace faulty {
namespace {

using remapfs::Errc;
using remapfs::fail;

// Enough that a few syncs of the image do not keep the rest waiting; slow requests hold none.
constexpr unsigned kWorkers = 16;

struct SessionDeleter {
  void operator()(fuse_session* session) const { fuse_session_destroy(session); }
};
using Session = std::unique_ptr<fuse_session, SessionDeleter>;

// Reads requests from the kernel and answers them until the disk is unmounted.
void serve_requests(fuse_session* session) {
  FuseDisk::enter_thread();
  fuse_buf buffer{};
  while (fuse_session_exited(session) == 0) {
    const int got = fuse_session_receive_buf(session, &buffer);
    if (got == -EINTR) continue;
    if (got <= 0) break;  // 0 is ENODEV: unmounted
    fuse_session_process_buf(session, &buffer);
  }
  fuse_session_exit(session);
  std::free(buffer.mem);
}

// The threads behind one mounted session. Ends when the kernel has let go of the mount.
class Workers {
 public:
  explicit Workers(fuse_session* session) : ended_(::eventfd(0, EFD_CLOEXEC)) {
    for (unsigned i = 0; i < kWorkers; ++i) {
      threads_.emplace_back([this, session] {
        serve_requests(session);
        ::eventfd_write(ended_, 1);
      });
    }
  }
  ~Workers() {
    for (std::thread& thread : threads_) thread.join();
    ::close(ended_);
  }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Readable once a thread has seen the end.
  [[nodiscard]] int ended() const { return ended_; }

 private:
  int ended_;
  std::vector<std::thread> threads_;
};

// SIGTERM and SIGINT as a descriptor. Made before the first thread, so that all of them have the signals blocked.
class StopSignals {
 public:
  explicit StopSignals(bool hangup_stops) {
    // A shell starts background commands with SIGINT ignored, and an ignored signal never arrives, blocked or not.
    std::signal(SIGTERM, SIG_DFL);
    std::signal(SIGINT, SIG_DFL);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (hangup_stops) sigaddset(&set, SIGHUP);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    if (!hangup_stops) std::signal(SIGHUP, SIG_IGN);
    std::signal(SIGPIPE, SIG_IGN);
    fd_ = ::signalfd(-1, &set, SFD_CLOEXEC);
  }
  ~StopSignals() { ::close(fd_); }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  [[nodiscard]] int fd() const { return fd_; }
  void take_one() const {
    signalfd_siginfo info{};
    [[maybe_unused]] const ssize_t got = ::read(fd_, &info, sizeof info);
  }

 private:
  int fd_ = -1;
};

// libfuse takes commas and backslashes in an option's value with a backslash before them.
std::string escaped(const std::string& value) {
  std::string text;
  for (const char c : value) {
    if (c == ',' || c == '\\') text += '\\';
    text += c;
  }
  return text;
}

Result<std::string> resolved_mount_point(const std::string& path) {
  std::error_code error;
  const std::filesystem::path resolved = std::filesystem::canonical(path, error);
  if (error) {
    return fail(Errc::not_found,
                fmt::format("no mount point, {}: {}, make a directory or file", path, error.message()));
  }
  return resolved.string();
}

Result<std::vector<RuleSpec>> initial_rules(const MountRequest& request) {
  if (request.rule_file.empty()) return std::vector<RuleSpec>{};
  std::error_code error;
  const std::filesystem::path file = std::filesystem::absolute(request.rule_file, error);
  return read_rule_file(file.string());
}

nanoseconds monotonic_now() { return std::chrono::steady_clock::now().time_since_epoch(); }

void wait_for_end(const Workers& workers, const StopSignals& signals, const std::string& mount_point,
                  const std::function<void(const std::string&)>& report) {
  while (true) {
    std::array<pollfd, 2> watched{{{workers.ended(), POLLIN, 0}, {signals.fd(), POLLIN, 0}}};
    if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) return;
    if (watched[0].revents != 0) return;
    if (watched[1].revents == 0) continue;
    signals.take_one();
    if (const Result<void> done = unmount_in_order(mount_point); !done) report(done.error().message);
  }
}

Result<void> serve_mounted(const std::string& mount_point, fuse_session* session, ControlledDisk controlled,
                           const StopSignals& signals, const std::function<void()>& on_ready,
                           const std::function<void(const std::string&)>& report) {
  const Workers workers(session);
  ControlServer control;
  // Answered by our own workers: from here on the disk works.
  struct stat status {};
  Result<void> done;
  if (::stat(mount_point.c_str(), &status) != 0) {
    done = fail(Errc::device_other, fmt::format("mounted but not usable, {}: {}", mount_point, std::strerror(errno)));
  } else if (const Result<std::string> path = socket_path(status.st_dev); !path) {
    done = fail(path.error());
  } else {
    done = control.start(*path, [&](const Json& request) { return answer_control(controlled, request); });
  }
  if (!done) {
    if (const Result<void> unmounted = unmount_in_order(mount_point); !unmounted) report(unmounted.error().message);
    return done;
  }
  on_ready();
  wait_for_end(workers, signals, mount_point, report);
  control.stop();
  return {};
}

}  // namespace

Result<void> serve_disk(const MountRequest& request, const std::function<void()>& on_ready,
                        const std::function<void(const std::string&)>& report) {
  const Result<std::string> mount_point = resolved_mount_point(request.mount_point);
  if (!mount_point) return fail(mount_point.error());
  const Result<std::unique_ptr<DiskImage>> image = DiskImage::open(request.image);
  if (!image) return fail(image.error());
  const Result<std::vector<RuleSpec>> rules = initial_rules(request);
  if (!rules) return fail(rules.error());
  if (const Result<std::string> directory = socket_directory(); !directory) return fail(directory.error());

  FaultEngine engine(DiskShape((*image)->size(), request.sector_size), monotonic_now);
  if (const auto ids = engine.add(*rules); !ids) return fail(ids.error());

  const ProcessSafety safety = make_process_safe();
  for (const std::string& warning : safety.warnings) report("warning: " + warning);
  const StopSignals signals(request.foreground);

  FuseDisk::Options options;
  options.is_directory = std::filesystem::is_directory(*mount_point);
  options.others = request.allow_other;
  FuseDisk disk(engine, **image, options);
  std::string mount_options = "subtype=faulty-disk,fsname=" + escaped(request.image);
  if (request.allow_other) mount_options += ",allow_other";
  const Session session(disk.new_session(mount_options));
  if (!session) return fail(Errc::invalid, fmt::format("cannot start FUSE, {}, see above", *mount_point));
  if (fuse_session_mount(session.get(), mount_point->c_str()) != 0) {
    return fail(Errc::permission, fmt::format("cannot mount, {}, see above", *mount_point));
  }
  const ControlledDisk controlled{engine, disk, **image, safety, [&] { return unmount_in_order(*mount_point); }};
  Result<void> done = serve_mounted(*mount_point, session.get(), controlled, signals, on_ready, report);
  disk.stop();
  // Finds the descriptor dead and only closes it: libfuse would otherwise unmount lazily.
  fuse_session_unmount(session.get());
  return done;
}

}  // namespace faulty
