// SPDX-License-Identifier: Apache-2.0
#include "control_socket.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <utility>

namespace faulty {
namespace {

using remapfs::Errc;
using remapfs::fail;

constexpr std::size_t kMaxLine = 16 * 1024 * 1024;
constexpr timeval kServerPatience{5, 0};
// Setting a list of a million sectors takes a second or two.
constexpr timeval kClientPatience{120, 0};

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(Errc::invalid, fmt::format("path too long for a socket, {}, use a shorter XDG_RUNTIME_DIR", path));
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

int connect_to(int fd, const sockaddr_un& address) {
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

void set_patience(int fd, timeval patience) {
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

std::optional<std::string> receive_line(int fd) {
  std::string line;
  std::array<char, 4096> buffer;
  while (line.size() < kMaxLine) {
    const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return std::nullopt;
    line.append(buffer.data(), static_cast<std::size_t>(got));
    if (line.back() != '\n') continue;
    line.pop_back();
    return line;
  }
  return std::nullopt;
}

bool send_line(int fd, const Json& body) {
  // Paths need not be UTF-8.
  std::string line = body.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t sent = ::send(fd, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    rest.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

std::optional<ucred> peer_of(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
  return peer;
}

// A descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] int take() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// Held while a socket's name is given or taken away. The kernel hands the device number of an ended mount to the next
// one at once, so the old process may still be about to remove its name when the new one has put its own there.
class DirectoryLock {
 public:
  explicit DirectoryLock(const std::string& socket)
      : directory_(::open(socket.substr(0, socket.rfind('/')).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    while (directory_.get() >= 0 && ::flock(directory_.get(), LOCK_EX) != 0 && errno == EINTR) {
    }
  }

 private:
  Descriptor directory_;
};

ino_t inode_of(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

Result<dev_t> mount_of(const std::string& target) {
  // statfs() is asked of the process; the answer to stat() may come from the kernel's memory after it died.
  struct stat status {};
  struct statfs answer {};
  if (::stat(target.c_str(), &status) == 0 && ::statfs(target.c_str(), &answer) == 0) return status.st_dev;
  const int error = errno;
  if (error == ENOTCONN) {
    return fail(Errc::device_gone,
                fmt::format("the process serving it died, {}, run: faulty-disk unmount {}", target, target), error);
  }
  const Errc code = error == EACCES ? Errc::permission : Errc::not_found;
  return fail(code, fmt::format("cannot look at the disk, {}: {}", target, std::strerror(error)), error);
}

}  // namespace

Result<std::string> socket_directory() {
  std::string directory = "/run/faulty-disk";
  if (::geteuid() != 0) {
    const char* runtime = ::secure_getenv("XDG_RUNTIME_DIR");
    if (runtime == nullptr || *runtime != '/') {
      return fail(Errc::invalid, "no place for the control socket, XDG_RUNTIME_DIR is not set, set it to a directory");
    }
    directory = fmt::format("{}/faulty-disk", runtime);
  }
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return fail(Errc::permission,
                fmt::format("cannot make the socket directory, {}: {}", directory, std::strerror(errno)), errno);
  }
  struct stat status {};
  if (::lstat(directory.c_str(), &status) != 0 || !S_ISDIR(status.st_mode) || status.st_uid != ::geteuid() ||
      (status.st_mode & 0077) != 0) {
    return fail(Errc::permission, fmt::format("not a private directory, {}, remove it or chmod 700 it", directory));
  }
  return directory;
}

Result<std::string> socket_path(dev_t mount) {
  const Result<std::string> directory = socket_directory();
  if (!directory) return fail(directory.error());
  return fmt::format("{}/{}-{}.sock", *directory, major(mount), minor(mount));
}

ControlServer::~ControlServer() { stop(); }

Result<void> ControlServer::start(const std::string& path, Handler handler) {
  const Result<sockaddr_un> address = address_of(path);
  if (!address) return fail(address.error());
  Descriptor listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  Descriptor stop_event(::eventfd(0, EFD_CLOEXEC));
  const DirectoryLock lock(path);
  // The device number belongs to the new mount alone, so an existing socket is that of a process that has ended.
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return fail(Errc::permission, fmt::format("cannot remove old socket, {}: {}", path, std::strerror(errno)), errno);
  }
  if (listener.get() < 0 || stop_event.get() < 0 ||
      ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0 ||
      ::chmod(path.c_str(), 0600) != 0 || ::listen(listener.get(), 16) != 0) {
    return fail(Errc::permission, fmt::format("cannot listen, {}: {}", path, std::strerror(errno)), errno);
  }
  path_ = path;
  inode_ = inode_of(path);
  handler_ = std::move(handler);
  listener_ = listener.take();
  stop_event_ = stop_event.take();
  thread_ = std::thread([this] { serve(); });
  return {};
}

void ControlServer::stop() {
  if (!thread_.joinable()) return;
  {
    const DirectoryLock lock(path_);
    // The listener holds on to its inode, so the number cannot have become another socket's.
    if (inode_of(path_) == inode_) ::unlink(path_.c_str());
  }
  ::eventfd_write(stop_event_, 1);
  thread_.join();
  ::close(listener_);
  ::close(stop_event_);
}

void ControlServer::serve() {
  while (true) {
    std::array<pollfd, 2> watched{{{listener_, POLLIN, 0}, {stop_event_, POLLIN, 0}}};
    if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) return;
    if (watched[1].revents != 0) return;
    if (watched[0].revents == 0) continue;
    const Descriptor client(::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC));
    if (client.get() >= 0) serve_client(client.get());
  }
}

void ControlServer::serve_client(int client) {
  const std::optional<ucred> peer = peer_of(client);
  if (!peer || (peer->uid != ::geteuid() && peer->uid != 0)) return;
  set_patience(client, kServerPatience);
  const std::optional<std::string> line = receive_line(client);
  if (!line) return;
  const Json request = Json::parse(*line, nullptr, false);
  if (!request.is_object()) {
    send_line(client, {{"ok", false}, {"error", "the request is not a JSON object"}});
    return;
  }
  send_line(client, handler_(request));
}

Result<ControlAnswer> ask_disk(const std::string& target, const Json& request) {
  const Result<dev_t> mount = mount_of(target);
  if (!mount) return fail(mount.error());
  const Result<std::string> path = socket_path(*mount);
  if (!path) return fail(path.error());
  const Result<sockaddr_un> address = address_of(*path);
  if (!address) return fail(address.error());
  const Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (socket.get() < 0 || connect_to(socket.get(), *address) != 0) {
    return fail(Errc::not_found,
                fmt::format("not a faulty disk of yours, {}, give its mount point or the disk in it", target));
  }
  set_patience(socket.get(), kClientPatience);
  const std::optional<ucred> peer = peer_of(socket.get());
  std::optional<std::string> line;
  if (send_line(socket.get(), request)) line = receive_line(socket.get());
  Json body = line ? Json::parse(*line, nullptr, false) : Json();
  if (!peer || !body.is_object()) {
    return fail(Errc::device_gone, fmt::format("no answer from the disk, {}, its process may have died", target));
  }
  if (!body.value("ok", false)) return fail(Errc::invalid, body.value("error", std::string("refused")));
  return ControlAnswer{std::move(body), peer->pid};
}

}  // namespace faulty
