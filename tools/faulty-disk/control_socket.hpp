// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <thread>

#include "core/json.hpp"
#include "remapfs/error.hpp"

// How a running faulty disk is controlled: one JSON object a line over a UNIX socket, one line back. A request has
// "verb"; an answer has "ok", and "error" (a message) when that is false.
//
// The socket is named after the device number of the mount, DIRECTORY/MAJOR-MINOR.sock, so that the mount point, the
// disk in it, a symbolic link or a bind mount all lead to it.

namespace faulty {

using Json = nlohmann::json;
using remapfs::Result;

// /run/faulty-disk for root, $XDG_RUNTIME_DIR/faulty-disk for users; made if missing, owner only.
// Errors: invalid (no XDG_RUNTIME_DIR), permission (somebody else's directory).
[[nodiscard]] Result<std::string> socket_directory();

// Where the disk whose mount has this device number listens.
[[nodiscard]] Result<std::string> socket_path(dev_t mount);

// Serves one client after the other on a thread of its own; a client that says nothing is dropped after seconds.
class ControlServer {
 public:
  // Threads: called on the server's thread only.
  using Handler = std::function<Json(const Json&)>;

  ControlServer() = default;
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  // A socket left over by a process that died is replaced. Errors: busy, permission.
  Result<void> start(const std::string& path, Handler handler);
  // Finishes the client at hand, removes the socket.
  void stop();

 private:
  void serve();
  void serve_client(int client);

  std::string path_;
  ino_t inode_ = 0;  // of the socket's name
  Handler handler_;
  int listener_ = -1;
  int stop_event_ = -1;
  std::thread thread_;
};

// An answer of a running disk and the process that gave it.
struct ControlAnswer {
  Json body;
  pid_t server = 0;
};

// Sends one request to the disk at `target`, a mount point or the disk in it. An answer with "ok" false becomes an
// error. Errors: not_found (no faulty disk there), device_gone (its process died), invalid, and what the disk said.
[[nodiscard]] Result<ControlAnswer> ask_disk(const std::string& target, const Json& request);

}  // namespace faulty
