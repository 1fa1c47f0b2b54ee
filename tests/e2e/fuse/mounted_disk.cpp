// SPDX-License-Identifier: Apache-2.0
#include "mounted_disk.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

namespace remapfs::fuse::test {

namespace {

constexpr std::chrono::seconds kTooLong{120};

void stop_on_sigterm(Transport& transport, const sigset_t& signals) {
  int number = 0;
  sigwait(&signals, &number);
  if (number == SIGTERM) transport.stop();
}

}  // namespace

int serve(const SharedMemory& memory, const std::string& mount_point, const ServeOptions& options,
          const std::function<void(const std::string&)>& ready) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  if (options.user && (::setgid(*options.user) != 0 || ::setuid(*options.user) != 0)) {
    ready("cannot become another user");
    return 1;
  }
  MemoryDisk disk(memory);
  auto channel = mount_fuse(mount_point, options.mount);
  if (!channel) {
    ready(describe(channel.error()));
    return 1;
  }
  OperationsOptions operations_options;
  operations_options.root = channel->root;
  Operations operations(disk, operations_options);
  auto descriptors = clone_descriptors(channel->descriptor, options.workers * (options.rings ? 2 : 1));
  if (!descriptors) {
    ready(describe(descriptors.error()));
    return 1;
  }
  TransportOptions transport_options;
  transport_options.connection = channel->connection;
  if (options.rings) transport_options.direct_disk = &disk;
  transport_options.ring_workers = options.workers;
  auto transport = Transport::start(std::move(*descriptors), Operations::table(), &operations, transport_options);
  if (!transport) {
    ready(describe(transport.error()));
    return 1;
  }
  std::thread stopper(stop_on_sigterm, std::ref(**transport), std::cref(signals));
  ready("ok " + (*transport)->info().describe());
  const auto end = (*transport)->wait();
  pthread_kill(stopper.native_handle(), SIGUSR1);
  stopper.join();
  return end ? 0 : 1;
}

MountedDisk::MountedDisk(std::uint64_t size, const ServeOptions& options)
    : memory_(size), root_(options.root), mount_point_(std::string(kPlayground) + "/mount") {
  memory_.fill_with_pattern();
  memory_.state().read_only = options.mount.read_only;
  if (root_ == RootKind::directory) {
    ::mkdir(mount_point_.c_str(), 0755);
  } else {
    ::close(::open(mount_point_.c_str(), O_CREAT | O_WRONLY, 0644));
  }
  if (options.user) static_cast<void>(::chown(mount_point_.c_str(), *options.user, *options.user));

  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) std::abort();
  server_ = ::fork();
  if (server_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close(ends[0]);
    const int status = serve(memory_, mount_point_, options, [&](const std::string& text) {
      static_cast<void>(::write(ends[1], text.data(), text.size()));
      ::close(ends[1]);
    });
    ::_exit(status);
  }
  ::close(ends[1]);
  watchdog_ = std::thread([this] {
    std::unique_lock lock(mutex_);
    if (!done_.wait_for(lock, kTooLong, [this] { return finished_; })) {
      ADD_FAILURE() << "took too long; the server is killed";
      signal(SIGKILL);
    }
  });
  std::array<char, 512> text{};
  for (ssize_t length = 0; (length = ::read(ends[0], text.data(), text.size())) > 0;) {
    greeting_.append(text.data(), static_cast<std::size_t>(length));
  }
  ::close(ends[0]);
  if (!greeting_.starts_with("ok ")) ADD_FAILURE() << "server: " << greeting_;
}

MountedDisk::~MountedDisk() {
  memory_.state().hold_writes = false;
  if (server_ > 0) {
    signal(SIGKILL);
    ::waitpid(server_, nullptr, 0);
  }
  {
    const std::lock_guard lock(mutex_);
    finished_ = true;
  }
  done_.notify_all();
  watchdog_.join();
  // Lazily: a failed test may still hold files open. Nobody serves it any more.
  ::umount2(mount_point_.c_str(), MNT_DETACH);
  if (root_ == RootKind::directory) {
    ::rmdir(mount_point_.c_str());
  } else {
    ::unlink(mount_point_.c_str());
  }
}

std::string MountedDisk::path() const { return root_ == RootKind::file ? mount_point_ : mount_point_ + "/disk"; }

int MountedDisk::wait_for_server() {
  int status = 0;
  ::waitpid(server_, &status, 0);
  server_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

CommandOutcome run(const std::string& script, const std::vector<std::string>& arguments) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return {};
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], 1);
    ::dup2(ends[1], 2);
    std::vector<const char*> words{"timeout", "-k", "5", "60", "sh", "-c", script.c_str(), "sh"};
    for (const std::string& argument : arguments) words.push_back(argument.c_str());
    words.push_back(nullptr);
    ::setenv("LC_ALL", "C", 1);
    ::execvp(words[0], const_cast<char* const*>(words.data()));
    ::_exit(127);
  }
  ::close(ends[1]);
  CommandOutcome outcome;
  std::array<char, 4096> text{};
  for (ssize_t length = 0; (length = ::read(ends[0], text.data(), text.size())) > 0;) {
    outcome.output.append(text.data(), static_cast<std::size_t>(length));
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

}  // namespace remapfs::fuse::test
