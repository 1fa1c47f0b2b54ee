// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "fuse/session.hpp"
#include "fuse/virtual_disk.hpp"
#include "remapfs/error.hpp"

namespace remapfs::fuse {

// Why serving ended.
enum class EndReason : std::uint8_t {
  unmounted,  // or the connection was aborted
  stopped,    // by request
};

// A way to drive sessions: threads that block, or rings.
//
// Every request that was received is answered before its worker ends. Sessions are initialised when the engine gets
// them and stay alive until it is gone.
// Threads: start() and wait() from one thread; request_stop() from any, also before start() and more than once.
class Engine {
 public:
  virtual ~Engine() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;
  // Threads that take requests.
  [[nodiscard]] virtual unsigned workers() const = 0;
  // Returns when every worker is at its work. Errors: no_memory (threads cannot be made; none runs on).
  virtual Result<void> start() = 0;
  // Asks the workers to end after what they have begun.
  virtual void request_stop() = 0;
  // Until every worker has ended and its thread is joined. Errors: device_other, a worker could not read on; the
  // others were then stopped too.
  virtual Result<EndReason> wait() = 0;
};

// One thread a session, each blocking in read(2) on its own descriptor and then in the calls of the disk. For every
// disk, and where io_uring is forbidden. Errors: no_memory.
[[nodiscard]] Result<std::unique_ptr<Engine>> make_blocking_engine(std::vector<std::unique_ptr<Session>> sessions);

inline constexpr unsigned kMostRingWorkers = 8;

// At most this many workers with a ring each, which have many transfers in flight; what may block is done by other
// threads. Each takes two of the sessions, on descriptors of their own (not duplicates of one); the rest is closed.
// Errors, with the sessions untouched: unsupported (no io_uring here: an old kernel, or forbidden), no_memory.
[[nodiscard]] Result<std::unique_ptr<Engine>> make_uring_engine(std::vector<std::unique_ptr<Session>>& sessions,
                                                                VirtualDisk& disk, unsigned workers);

}  // namespace remapfs::fuse
