// SPDX-License-Identifier: Apache-2.0
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "delay_queue.hpp"
#include "disk_image.hpp"
#include "fault_engine.hpp"

namespace faulty {

// What requests did since the mount, as their callers saw it.
struct IoCounts {
  Counter reads;
  Counter writes;
  Counter flushes;
  Counter zeroes;  // ZERO_RANGE and PUNCH_HOLE
  Counter bytes_read;
  Counter bytes_written;
  Counter read_errors;
  Counter write_errors;  // zeroes included
  Counter flush_errors;
  Counter refused_gone;  // requests of any kind answered because the disk was gone
  Counter delayed;
  Counter corrupted_reads;
  Counter image_errors;  // errors of the image itself, not of a rule
};

// The faulty disk as a file system: one file, whose every read and write arrives with its own offset and length
// (FOPEN_DIRECT_IO). Answers come from memory, never from descriptors: libfuse 3.14 turns an EIO behind a good byte
// into a short success otherwise.
//
// Threads: requests are served on any thread that called enter_thread().
class FuseDisk {
 public:
  struct Options {
    bool is_directory = true;  // the mount point is a directory holding "disk"; else it is the disk
    bool others = false;       // other users may open the disk
  };

  FuseDisk(FaultEngine& engine, DiskImage& image, Options options);

  // The libfuse session; fuse_session_destroy() it before this object goes. mount_options is the text behind -o.
  // Null when libfuse refused the options; it has said why.
  [[nodiscard]] fuse_session* new_session(const std::string& mount_options);

  // Gives the calling thread its buffer.
  static void enter_thread();

  // Takes the disk away with this errno, or gives it back with 0. Waiting requests are answered at once.
  void set_gone(int error);
  // Lets go of requests that wait because of a rule that was removed.
  void release_waiting() { delays_.release(); }
  // Ends all waiting. No request may arrive afterwards.
  void stop() { delays_.stop(); }

  [[nodiscard]] const IoCounts& counts() const { return counts_; }

 private:
  class Delayed;
  class DelayedRead;
  class DelayedWrite;
  class DelayedZero;
  class DelayedFlush;
  struct Operations;  // the C callbacks

  void read(fuse_req_t request, ByteOffset from, std::size_t length);
  void write(fuse_req_t request, ByteOffset to, std::span<const std::byte> data);
  void zero(fuse_req_t request, ByteRange range, bool punch);
  void flush(fuse_req_t request);
  void finish_read(fuse_req_t request, const AccessPlan& plan, ByteRange range);
  void finish_write(fuse_req_t request, const AccessPlan& plan, ByteOffset to, std::span<const std::byte> data);
  void finish_zero(fuse_req_t request, const AccessPlan& plan, bool punch);
  void finish_flush(fuse_req_t request, const AccessPlan& plan);

  // Answers a request if the disk is gone by now. Asked once a request, in front of the transfer: a write that is
  // not carried out must not be acknowledged because the disk came back in between.
  bool refuse_when_gone(fuse_req_t request, Counter& errors);
  [[nodiscard]] int image_outcome(int error);
  void attributes(fuse_ino_t inode, struct stat& status) const;
  [[nodiscard]] fuse_ino_t disk_inode() const { return options_.is_directory ? 2 : FUSE_ROOT_ID; }

  FaultEngine& engine_;
  DiskImage& image_;
  Options options_;
  IoCounts counts_;
  timespec mounted_at_{};
  DelayQueue delays_;
};

}  // namespace faulty
