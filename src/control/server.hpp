// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "control/block_verbs.hpp"
#include "remapfs/error.hpp"

namespace remapfs {

struct ControlServerOptions {
  std::size_t max_connections = 16;                   // more are answered `busy` and closed
  std::chrono::milliseconds request_timeout{10'000};  // a client must have sent its request by then
  std::chrono::milliseconds reply_timeout{30'000};    // a line that is not taken by then ends the connection
};

// Serves the control socket of one volume: /run/remapfs/UUID.sock and its like.
//
// Shape: one thread accepts, one thread per connection works; none of them serves I/O of the disk. The peer must be
//   the server's own user or root (SO_PEERCRED). A client that leaves, stalls or talks nonsense costs its own
//   connection and nothing else; verbs that go block by block stop when their client has left.
// Errors: start(): busy (a live daemon answers at the path), permission, invalid (path too long), device_other. A
//   socket file that nobody listens at, left by a daemon that died, is replaced.
// Threads: stop() and the destructor from one thread, which is none of the server's own.
class ControlServer {
 public:
  // The target must outlive the server.
  static Result<std::unique_ptr<ControlServer>> start(const std::string& path, ControlTarget& target,
                                                      ControlServerOptions options = {});
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  // Takes no more requests, ends running block verbs at the next block, sends the answers that are due, removes the
  // socket file and returns when every thread has ended. Takes at most reply_timeout longer than the calls into the
  // target.
  void stop();

 private:
  struct Impl;
  explicit ControlServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace remapfs
