// SPDX-License-Identifier: Apache-2.0
#include "control/server.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <list>
#include <system_error>
#include <thread>

#include "control/import_request.hpp"
#include "control/line_channel.hpp"
#include "control/protocol.hpp"

namespace remapfs {
namespace {

constexpr int kBacklog = 16;
constexpr int kPauseAfterRefusedAcceptMs = 100;

Error socket_error(std::string_view what, const std::string& path, std::string_view advice, int error) {
  const Errc code = error == EACCES || error == EPERM ? Errc::permission : Errc::device_other;
  return {code, error, fmt::format("{}, {} ({}), {}", what, path, std::strerror(error), advice)};
}

// True when something accepts connections at the address.
bool is_served(const sockaddr_un& address) {
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return false;
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return true;
  return errno == EAGAIN;  // its queue is full: alive
}

bool peer_is_allowed(int fd) {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return false;
  return peer.uid == 0 || peer.uid == ::geteuid();
}

// Keeps every signal away from the threads started in its scope: they belong to whoever waits for signals.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

struct ControlServer::Impl {
  struct Connection {
    explicit Connection(UniqueFd socket) : channel(std::move(socket)) {}
    LineChannel channel;
    std::atomic<bool> finished = false;
    std::thread thread;
  };

  Impl(ControlTarget& target_, ControlServerOptions options_) : target(target_), options(options_) {}

  Result<void> listen_at(const std::string& wanted_path);
  void remove_socket_file() const;
  void accept_until_stopped();
  void admit(UniqueFd socket);
  void reap_finished();
  void serve(Connection& connection);
  Completion answer(const Request& request, LineChannel& channel);
  bool send(LineChannel& channel, const nlohmann::ordered_json& line) const;

  ControlTarget& target;
  const ControlServerOptions options;
  std::string path;
  struct stat socket_file {};  // identity of our socket file, so that only ours is removed
  UniqueFd listener;
  UniqueFd wake;
  std::atomic<bool> stopping = false;
  std::list<Connection> connections;  // of the accepting thread, then, after its end, of stop()
  std::thread acceptor;
};

Result<void> ControlServer::Impl::listen_at(const std::string& wanted_path) {
  // Bound under a name of its own, made private, then renamed into place: nobody can ever connect to a socket with
  // open permissions, and a dead daemon's socket file is replaced in one step.
  const std::string draft = fmt::format("{}.{}", wanted_path, ::getpid());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (draft.size() >= sizeof address.sun_path) {
    return fail(Errc::invalid, fmt::format("path of the control socket is too long, {}, set XDG_RUNTIME_DIR to a "
                                           "shorter one",
                                           wanted_path));
  }
  std::memcpy(address.sun_path, wanted_path.c_str(), wanted_path.size() + 1);
  struct stat present {};
  if (::lstat(wanted_path.c_str(), &present) == 0) {
    if (!S_ISSOCK(present.st_mode)) {
      return fail(Errc::exists,
                  fmt::format("something else is where the control socket belongs, {}, remove it", wanted_path));
    }
    if (is_served(address)) {
      return fail(Errc::busy, fmt::format("another daemon serves this volume, {}, unmount it first", wanted_path));
    }
  }

  std::memcpy(address.sun_path, draft.c_str(), draft.size() + 1);
  listener = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  wake = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!listener || !wake) {
    return fail(socket_error("cannot make the control socket", wanted_path, "free file descriptors", errno));
  }
  ::unlink(draft.c_str());  // of a daemon with our process number that died right here
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail(socket_error("cannot make the control socket", wanted_path, "check the directory", errno));
  }
  if (::chmod(draft.c_str(), 0600) != 0 || ::listen(listener.get(), kBacklog) != 0 ||
      ::lstat(draft.c_str(), &socket_file) != 0 || ::rename(draft.c_str(), wanted_path.c_str()) != 0) {
    const int error = errno;
    ::unlink(draft.c_str());
    return fail(socket_error("cannot make the control socket", wanted_path, "check the directory", error));
  }
  path = wanted_path;
  return {};
}

void ControlServer::Impl::remove_socket_file() const {
  struct stat present {};
  if (path.empty() || ::lstat(path.c_str(), &present) != 0) return;
  if (present.st_dev == socket_file.st_dev && present.st_ino == socket_file.st_ino) ::unlink(path.c_str());
}

void ControlServer::Impl::accept_until_stopped() {
  while (!stopping) {
    pollfd entries[2] = {{listener.get(), POLLIN, 0}, {wake.get(), POLLIN, 0}};
    if (::poll(entries, 2, -1) < 0 || stopping) continue;
    UniqueFd socket(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket) {
      admit(std::move(socket));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      // The listener stays ready: without a pause this would spin until a descriptor is free.
      ::poll(&entries[1], 1, kPauseAfterRefusedAcceptMs);
    }
  }
}

void ControlServer::Impl::admit(UniqueFd socket) {
  reap_finished();
  const auto refuse = [&](UniqueFd refused, Errc code, std::string message) {
    // One line into an empty socket buffer: never blocks.
    LineChannel channel(std::move(refused));
    send(channel, encode(Completion{fail(code, std::move(message)), 0}));
  };
  if (!peer_is_allowed(socket.get())) {
    refuse(std::move(socket), Errc::permission, "not your volume, ask its owner or root");
    return;
  }
  if (connections.size() >= options.max_connections) {
    refuse(std::move(socket), Errc::busy, "too many commands at once for this volume, wait for them to end");
    return;
  }
  Connection& connection = connections.emplace_back(std::move(socket));
  try {
    connection.thread = std::thread([this, &connection] {
      serve(connection);
      connection.finished = true;
    });
  } catch (const std::system_error&) {
    send(connection.channel, encode(Completion{fail(Errc::no_memory, "no thread for this command, try again"), 0}));
    connections.pop_back();
  }
}

void ControlServer::Impl::reap_finished() {
  for (auto it = connections.begin(); it != connections.end();) {
    if (it->finished) {
      it->thread.join();
      it = connections.erase(it);
    } else {
      ++it;
    }
  }
}

void ControlServer::Impl::serve(Connection& connection) {
  LineChannel& channel = connection.channel;
  const auto line = channel.read_line(kMaxRequestBytes, options.request_timeout);
  Completion completion;
  if (!line) {
    if (line.error().code == Errc::device_other) return;
    completion.result = line.error().code == Errc::timeout
                            ? fail(Errc::timeout, "control request: did not come in time")
                            : fail(Errc::invalid, "control request: too long or cut off");
  } else if (!*line) {
    return;
  } else if (const auto request = decode_request(**line); !request) {
    completion.result = fail(request.error());
  } else {
    completion = answer(*request, channel);
  }
  send(channel, encode(completion));
}

Completion ControlServer::Impl::answer(const Request& request, LineChannel& channel) {
  switch (request.verb) {
    case Verb::status: {
      auto report = target.status();
      if (!report) return {fail(report.error()), 0};
      if (!send(channel, {{"status", to_json(*report)}})) return {fail(Errc::interrupted), 0};
      return {};
    }
    case Verb::resume: return {target.resume(), 0};
    case Verb::unmount: return {target.unmount(), 0};
    case Verb::import_entries: return apply_import(target, request.entries);
    case Verb::upgrade: return {target.upgrade(request.program), 0};
    case Verb::spare_add: return {target.add_spare(request.path), 0};
    case Verb::smart: return {target.record_smart(request.smart), 0};
    case Verb::spare_retire:
      return {target.retire_spare(request.spare,
                                  [&](BlockIndex block) {
                                    return send(channel, encode(BlockReport{block})) && !stopping &&
                                           !channel.peer_left();
                                  }),
              0};
    case Verb::scrub: {
      auto reply = target.scrub(request.scrub);
      if (!reply) return {fail(reply.error()), 0};
      return {reply->outcome, 0, {}, std::move(reply->job), {}};
    }
    case Verb::replace: {
      auto reply = target.replace(request.replace);
      if (!reply) return {fail(reply.error()), 0};
      return {reply->outcome, 0, {}, {}, std::move(reply->job)};
    }
    case Verb::add:
    case Verb::remove:
    case Verb::retest:
    case Verb::mark_lost:
    case Verb::clear_lost:
      return apply_blocks(target, request.verb, request.blocks, [&](const BlockReport& report) {
        return send(channel, encode(report)) && !stopping && !channel.peer_left();
      });
  }
  return {fail(Errc::invalid, "control request: unknown verb"), 0};
}

bool ControlServer::Impl::send(LineChannel& channel, const nlohmann::ordered_json& line) const {
  return channel.write_line(to_line(line), options.reply_timeout).has_value();
}

ControlServer::ControlServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

ControlServer::~ControlServer() { stop(); }

Result<std::unique_ptr<ControlServer>> ControlServer::start(const std::string& path, ControlTarget& target,
                                                            ControlServerOptions options) {
  auto impl = std::make_unique<Impl>(target, options);
  if (auto listening = impl->listen_at(path); !listening) return fail(listening.error());
  std::unique_ptr<ControlServer> server(new ControlServer(std::move(impl)));
  const SignalsBlocked blocked;
  try {
    server->impl_->acceptor = std::thread([raw = server->impl_.get()] { raw->accept_until_stopped(); });
  } catch (const std::system_error&) {
    return fail(Errc::no_memory, "cannot start the thread of the control socket, free memory or raise the limit");
  }
  return server;
}

void ControlServer::stop() {
  Impl& impl = *impl_;
  if (impl.stopping.exchange(true)) return;
  impl.remove_socket_file();
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(impl.wake.get(), &one, sizeof one);
  if (impl.acceptor.joinable()) impl.acceptor.join();
  for (auto& connection : impl.connections) connection.channel.interrupt_reads();
  for (auto& connection : impl.connections) connection.thread.join();
  impl.connections.clear();
  impl.listener.reset();
}

}  // namespace remapfs
