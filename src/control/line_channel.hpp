// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "core/unique_fd.hpp"
#include "remapfs/error.hpp"

namespace remapfs {

// Lines of text over a connected stream socket, with bounds on length and time.
//
// Errors: timeout; invalid (a line longer than allowed, or bytes after the last newline); device_other (the
//   connection broke). After an error the channel is of no further use.
// Threads: one at a time, except interrupt_reads().
class LineChannel {
 public:
  explicit LineChannel(UniqueFd socket) : socket_(std::move(socket)) {}

  // The next line without its newline; nothing at the end of the stream. Takes at most max_bytes of memory and, all in
  // all, `timeout` of time, however slowly the bytes come.
  Result<std::optional<std::string>> read_line(std::size_t max_bytes, std::chrono::milliseconds timeout);

  // Sends the line and a newline, all of it inside `timeout`.
  Result<void> write_line(std::string_view line, std::chrono::milliseconds timeout);

  // True when the other end has closed its side; costs one system call.
  [[nodiscard]] bool peer_left() const;

  // Makes this and every later read_line() see the end of the stream; writing goes on. From any thread.
  void interrupt_reads() const;

  [[nodiscard]] int descriptor() const { return socket_.get(); }

 private:
  UniqueFd socket_;
  std::string pending_;  // bytes received after the last line given out
};

}  // namespace remapfs
