// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fuse_lowlevel.h>

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "remapfs/error.hpp"
#include "remapfs/units.hpp"
#include "remapfs/volume.hpp"

namespace remapfs::fuse {

// A request whose answer may take its time: all that is needed to carry it out and to reply, on whichever thread.
struct Job {
  enum class Kind : std::uint8_t { read, write, flush, zero, punch, seek_data, seek_hole };

  Kind kind = Kind::read;
  bool flush_after = false;       // the caller asked for O_DSYNC
  bool remember_failure = false;  // a failed write has to fail the file's next fsync too
  fuse_req_t request = nullptr;
  ByteRange range;              // inside the disk; of a seek, where it begins
  std::byte* memory = nullptr;  // of a read or write: range.size() bytes, until the reply
  std::uint64_t handle = 0;     // of the open file
  std::chrono::steady_clock::time_point begun;

  [[nodiscard]] bool is_transfer() const { return kind == Kind::read || kind == Kind::write; }
};

// Takes jobs from the operations, each to be carried out by perform(), by recover() or in some other way that ends in
// finish_transfer(). Called on the thread that serves the session.
class JobRunner {
 public:
  virtual ~JobRunner() = default;
  virtual void run(const Job& job) = 0;
};

// Carries out a job with calls that may block, and replies. Threads: any.
void perform(const Job& job) noexcept;
// The same for a transfer that was tried, and ended, with this access, which is not enough for it.
void recover(const Job& job, DirectAccess& access) noexcept;
// Replies to a read or write that was carried out, all that it asks for, with `done` as its outcome. Does not block.
void finish_transfer(const Job& job, const Result<void>& done) noexcept;

}  // namespace remapfs::fuse
