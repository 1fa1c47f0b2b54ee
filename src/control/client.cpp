// SPDX-License-Identifier: Apache-2.0
#include "control/client.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace remapfs {
namespace {

constexpr auto kSendTimeout = std::chrono::seconds(10);

Error cut_off(const Error& error) {
  switch (error.code) {
    case Errc::timeout:
      return {Errc::timeout, ETIMEDOUT, "the daemon does not answer, control socket, look at its log or try again"};
    case Errc::invalid:
      return {Errc::invalid, 0, "the daemon's answer cannot be understood, control socket, try again"};
    default:
      return {Errc::device_other, error.os_errno,
              "the daemon went away while it was asked, control socket, look at its log and ask again"};
  }
}

}  // namespace

Result<ControlClient> ControlClient::connect(std::span<const std::string> paths) {
  Error last{Errc::not_found, 0, "no daemon serves this volume, control socket, mount it first"};
  for (const std::string& path : paths) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) continue;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket) return fail(Errc::device_other, fmt::format("no socket, {}, free file descriptors", path), errno);
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      if (errno == EACCES || errno == EPERM) {
        last = {Errc::permission, errno, fmt::format("mounted by another user, {}, use sudo or ask that user", path)};
      }
      continue;
    }
    ucred peer{};
    socklen_t length = sizeof peer;
    if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) peer.pid = 0;
    UniqueFd daemon(static_cast<int>(::syscall(SYS_pidfd_open, peer.pid, 0)));
    return ControlClient(std::move(socket), peer.pid, std::move(daemon));
  }
  return fail(std::move(last));
}

void ControlClient::remove_stale_socket(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return;
  const auto client = connect({&path, 1});
  if (!client && client.error().code == Errc::not_found) ::unlink(path.c_str());
}

Result<ReplyLine> ControlClient::next_line(std::chrono::milliseconds timeout) {
  const auto line = channel_.read_line(kMaxReplyBytes, timeout);
  if (!line) return fail(cut_off(line.error()));
  if (!*line) return fail(cut_off({Errc::device_other, 0, {}}));
  return decode_reply(**line);
}

Result<nlohmann::ordered_json> ControlClient::status(std::chrono::milliseconds timeout) {
  // As in ask(): a refusal may be there although the request could not be sent.
  const auto sent = channel_.write_line(encode(Request{Verb::status, {}}), kSendTimeout);
  nlohmann::ordered_json status;
  for (;;) {
    auto reply = next_line(timeout);
    if (!reply) return fail(sent ? reply.error() : cut_off(sent.error()));
    if (!reply->status.is_null()) status = std::move(reply->status);
    if (!reply->completion) continue;
    if (!reply->completion->result) return fail(reply->completion->result.error());
    if (status.is_null()) return fail(cut_off({Errc::invalid, 0, {}}));
    return status;
  }
}

Result<Completion> ControlClient::ask(const Request& request, const std::function<void(const BlockReport&)>& report,
                                      std::chrono::milliseconds timeout) {
  // A daemon that refuses answers before it reads: its answer is worth more than the broken pipe.
  const auto sent = channel_.write_line(encode(request), kSendTimeout);
  for (;;) {
    auto reply = next_line(timeout);
    if (!reply) return fail(sent ? reply.error() : cut_off(sent.error()));
    if (reply->block && report) report(*reply->block);
    if (reply->completion) return std::move(*reply->completion);
  }
}

bool ControlClient::wait_for_exit(std::chrono::milliseconds timeout) {
  if (!daemon_) return true;  // it had ended by the time we were connected
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    pollfd entry{daemon_.get(), POLLIN, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::clamp<long long>(left, 0, 1'000'000)));
    if (ready > 0) return true;
    if (ready == 0 && left <= 0) return false;
    if (ready < 0 && errno != EINTR) return false;
  }
}

}  // namespace remapfs
