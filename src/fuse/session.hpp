// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fuse_lowlevel.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/unique_fd.hpp"
#include "fuse/job.hpp"
#include "remapfs/error.hpp"

namespace remapfs::fuse {

// What fuse_req_userdata() points to in every operation.
struct RequestContext {
  void* service = nullptr;       // as given to the transport
  std::span<std::byte> payload;  // page-aligned, kMaxRequestSize long, of the request that is being processed; holds
                                 // the data of a WRITE, is free for a READ's data until its reply
  JobRunner* runner = nullptr;   // takes what may block
};

// What to ask of the kernel in FUSE_INIT.
struct InitWishes {
  std::uint32_t max_write = 0;
  std::uint32_t max_read = 0;
  std::uint32_t max_readahead = 0;
  std::uint32_t max_background = 0;
  std::uint32_t congestion_threshold = 0;
};

// What came out of FUSE_INIT.
struct InitOutcome {
  unsigned protocol_major = 0;
  unsigned protocol_minor = 0;
  std::uint32_t max_write = 0;
  std::uint32_t max_read = 0;
  std::uint32_t max_readahead = 0;
  bool async_read = false;
  bool async_direct_io = false;
  bool explicit_invalidation = false;
};

// What the kernel and who served a mount first agreed on, byte by byte as it was said. Who serves it next has to keep
// it.
struct InitExchange {
  std::vector<std::byte> request;  // FUSE_INIT, whole
  std::vector<std::byte> reply;    // fuse_init_out
  [[nodiscard]] bool empty() const { return request.empty(); }
};

// Page-aligned memory, present in RAM from the start; in huge pages where it is large enough and the kernel has them.
class PageBuffer {
 public:
  static Result<PageBuffer> allocate(std::size_t size);
  PageBuffer(PageBuffer&& other) noexcept;
  PageBuffer& operator=(PageBuffer&&) = delete;
  ~PageBuffer();

  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }

 private:
  explicit PageBuffer(std::span<std::byte> bytes) : bytes_(bytes) {}
  std::span<std::byte> bytes_;
};

// Whether two replies to FUSE_INIT mean the same to a server: what form requests have, how large they are, and what the
// kernel does by itself. Limits that the kernel alone keeps may differ.
[[nodiscard]] bool promises_the_same(std::span<const std::byte> reply, std::span<const std::byte> other);

// Whether the kernel that sent this FUSE_INIT can send requests again: Session::ask_for_resend().
[[nodiscard]] bool can_resend(std::span<const std::byte> init_request);

// Room that receive() asks for, a whole number of pages.
[[nodiscard]] std::size_t request_room();
// Where in such room the data of a request begins.
[[nodiscard]] std::size_t payload_offset();

// One end of the connection: a descriptor and a fuse_session of its own, so that those who serve different sessions
// share no lock and no cache line on the way of a request.
//
// Threads: one at a time; replies from any. Memory: libfuse 3.14 allocates one small object a request.
class Session : private RequestContext {
 public:
  // descriptor: a clone of a mounted /dev/fuse descriptor. operations: copied, `init` excepted, which is ours.
  // Errors: no_memory.
  static Result<std::unique_ptr<Session>> create(UniqueFd descriptor, const fuse_lowlevel_ops& operations,
                                                 void* service, const InitWishes& wishes);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Waits for the kernel's FUSE_INIT, which it sends once to the whole connection, and answers it. Returns what was
  // said, for replay_init() of the other sessions. Errors: timeout; device_gone (unmounted meanwhile);
  // unsupported (the kernel speaks another protocol); device_other.
  Result<InitExchange> serve_init(std::chrono::milliseconds patience);
  // Brings the session into the state that this led to elsewhere. The kernel sees nothing of it.
  // Errors: invalid (not a FUSE_INIT), unsupported, too_new (this program would have answered otherwise).
  Result<void> replay_init(const InitExchange& exchange);
  [[nodiscard]] const InitOutcome& init_outcome() const { return outcome_; }

  // Has the kernel send again every request that was received through a descriptor of this connection and is not
  // answered: those of a process that died (Linux 6.9). Only before anybody receives: what is being worked on would be
  // received twice. Errors: unsupported, device_gone (unmounted), device_other.
  Result<void> ask_for_resend();

  enum class Received : std::uint8_t {
    request,    // process() is due
    again,      // a signal
    nothing,    // there is nothing to read, and the descriptor is non-blocking
    unmounted,  // or aborted: nothing will ever come again
    failed,     // last_errno() says why
  };
  // Takes one request into `room` (page-aligned, request_room() long), waiting for it unless the descriptor is
  // non-blocking.
  Received receive(std::span<std::byte> room);
  // Hands it to the operations, and they what may block to the runner.
  void process();
  [[nodiscard]] int last_errno() const { return last_errno_; }
  // Who takes jobs; to be set before the first process() after INIT.
  void set_runner(JobRunner& who) { runner = &who; }

  [[nodiscard]] int descriptor() const { return fuse_session_fd(session_); }
  // Whether receive() answers `nothing` or waits. Not for a descriptor whose file others read too.
  Result<void> set_blocking(bool blocking);

 private:
  Session(UniqueFd descriptor, void* service, const InitWishes& wishes);

  static ssize_t read_callback(int fd, void* buffer, std::size_t size, void* userdata);
  static ssize_t write_callback(int fd, iovec* parts, int count, void* userdata);
  static void init_callback(void* userdata, fuse_conn_info* connection);
  static Session& from(void* userdata) { return *static_cast<Session*>(static_cast<RequestContext*>(userdata)); }

  ssize_t read_request(int fd, void* buffer, std::size_t size);

  fuse_session* session_ = nullptr;  // owns the descriptor from fuse_session_custom_io() on
  UniqueFd descriptor_;              // until then
  fuse_buf request_{};
  InitWishes wishes_;
  InitOutcome outcome_;
  bool initialised_ = false;
  std::span<const std::byte> replay_;  // not empty: read_callback hands this out instead of asking the kernel
  bool swallow_replies_ = false;
  std::vector<std::byte>* heard_ = nullptr;  // a copy of what is answered, without its header
  int last_errno_ = 0;
};

}  // namespace remapfs::fuse
