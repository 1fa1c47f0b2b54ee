// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/unique_fd.hpp"
#include "fuse/connection.hpp"
#include "fuse/engine.hpp"
#include "remapfs/error.hpp"
#include "remapfs/units.hpp"

struct fuse_lowlevel_ops;

namespace remapfs::fuse {

// Everything a transport needs of the outside world. It can come from mount_fuse(), or from a process that kept the
// descriptors open while another served them.
struct TransportDescriptors {
  std::vector<UniqueFd> workers;  // one each: clones of the mounted descriptor, or duplicates of it
  bool cloned = false;            // clones: each has its own queue of requests in process
  InitExchange init;              // when FUSE_INIT was answered already; else empty
  bool resend = false;            // requests may have been received by somebody who died before an answer
};

// Makes `count` descriptors for workers. Where /dev/fuse may not be opened, or the kernel cannot clone, they are
// duplicates: that works and shares one queue. Errors: invalid (count is 0), no_memory (no descriptors left).
// The channel has to stay open for clones made later only.
[[nodiscard]] Result<TransportDescriptors> clone_descriptors(const UniqueFd& channel, unsigned count);

struct TransportOptions {
  std::uint32_t max_write = static_cast<std::uint32_t>(kMaxRequestSize);
  std::uint32_t max_read = static_cast<std::uint32_t>(kMaxRequestSize);  // the same as the mount's
  std::uint32_t max_readahead = static_cast<std::uint32_t>(kMaxRequestSize);
  std::uint32_t max_background = 256;        // the kernel's default is 12
  std::uint32_t congestion_threshold = 192;  // three quarters of it
  std::optional<unsigned> connection;        // for looking up what was granted
  // Given: io_uring does the transfers of this disk, where there is io_uring and each worker has a descriptor of its
  // own.
  VirtualDisk* direct_disk = nullptr;
  unsigned ring_workers = 0;  // then; 0: one for two cores
  std::chrono::milliseconds init_patience{10000};
};

inline constexpr unsigned kDefaultWorkers = 16;

// What was agreed with the kernel, for `status`.
struct TransportInfo {
  std::string engine;
  std::string no_uring;  // why it is not io_uring, when that was asked for
  unsigned workers = 0;
  bool cloned = false;
  InitOutcome init;
  ConnectionLimits limits;
  [[nodiscard]] std::string describe() const;  // one line
};

// Carries requests from the kernel to the operations and answers back, until unmounted or told to stop.
//
// Threads: start() from one thread, before which nothing is served; wait() from one thread; the others from any.
class Transport {
 public:
  // Agrees on the protocol and starts the workers. When it returns, requests are being served.
  //
  // service: what operations find as RequestContext::service. Errors: those of Session::serve_init(), replay_init() and
  //   ask_for_resend(), no_memory, invalid (no descriptors).
  // Cost: kMaxRequestSize of memory a worker, touched.
  static Result<std::unique_ptr<Transport>> start(TransportDescriptors descriptors, const fuse_lowlevel_ops& operations,
                                                  void* service, const TransportOptions& options);
  // Stops and waits. The descriptors are closed: unless somebody else holds duplicates, the mount is then dead.
  ~Transport();
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  [[nodiscard]] const TransportInfo& info() const { return info_; }
  // To be kept for whoever serves the same descriptors next.
  [[nodiscard]] const InitExchange& init_exchange() const { return init_exchange_; }

  // Asks for the end: every request that was received is answered, none is received any more. Requests that wait in
  // the kernel stay there for the next who serves the descriptors.
  void stop() { engine_->request_stop(); }
  // Until all workers have ended. Errors: device_other.
  Result<EndReason> wait() { return engine_->wait(); }

 private:
  Transport(std::unique_ptr<Engine> engine, TransportInfo info, InitExchange init_exchange);

  std::unique_ptr<Engine> engine_;
  TransportInfo info_;
  InitExchange init_exchange_;
};

}  // namespace remapfs::fuse
