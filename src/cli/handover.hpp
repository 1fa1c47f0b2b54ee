// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/mount_options.hpp"
#include "core/unique_fd.hpp"
#include "fuse/mount_memory.hpp"
#include "fuse/mount_point.hpp"
#include "fuse/session.hpp"
#include "remapfs/error.hpp"
#include "remapfs/volume_memory.hpp"

namespace remapfs::cli {

// What to serve and where.
struct ServiceSpec {
  std::string map_path;     // absolute
  std::string mount_point;  // absolute
  MountSettings settings;
  bool foreground = false;          // log to the terminal
  bool remove_mount_point = false;  // an empty directory made for this mount
};

// A mount as it was made, for whoever serves it next.
struct MountRecord {
  ServiceSpec spec;
  fuse::RootKind root = fuse::RootKind::directory;
  std::string mount_point;             // canonical, when it was made
  std::optional<unsigned> connection;  // its number
  bool cloned = false;                 // descriptors of workers are clones, not duplicates
  fuse::InitExchange init;
};

// What a process that serves a volume leaves to the next one, in memory that they share with the process that keeps
// the descriptors. A process may be killed at any moment: each member is whole at any.
struct Handover {
  static constexpr std::uint64_t kMagic = 0x524D'4653'4856'5231;  // "RMFSHVR1"
  // Counts up with every change of this layout or of what it means: a program that knows another one refuses.
  static constexpr std::uint32_t kFormat = 3;
  static constexpr std::size_t kTextRoom = std::size_t{16} << 10U;
  static constexpr std::size_t kRecordRoom = std::size_t{64} << 10U;

  enum class Stage : std::uint32_t {
    starting,
    serving,
    refused,    // could not be served: `message` says why
    ended,      // in order: exit_code is the answer
    upgrading,  // in order, for `successor` to go on
  };

  std::uint64_t magic = kMagic;
  std::uint32_t format = kFormat;
  std::uint32_t size = 0;               // of this structure
  std::atomic<std::int32_t> keeper{0};  // process numbers
  std::atomic<std::int32_t> worker{0};
  std::atomic<std::uint64_t> worker_start{0};  // of the one that serves: see start_of_process()
  std::atomic<Stage> stage{Stage::starting};
  std::atomic<std::int32_t> exit_code{0};
  std::atomic<std::uint32_t> restarts{0};    // after a process was killed
  std::atomic<std::int32_t> last_signal{0};  // that ended the last one; 0 when that is not known
  std::atomic<std::uint32_t> upgrades{0};    // done
  std::atomic<std::uint32_t> refusals{0};    // upgrades that failed, so that the old program went on
  std::atomic<std::int32_t> error_code{0};   // an Errc, of a start or an upgrade that failed
  std::atomic<std::int32_t> error_errno{0};
  std::array<char, kTextRoom> message{};    // of that; ends with a zero
  std::array<char, kTextRoom> successor{};  // path of the program; ends with a zero
  std::atomic<std::uint32_t> record_size{0};
  std::array<char, kRecordRoom> record{};  // a MountRecord, as JSON
  VolumeMemory volume;
  fuse::MountMemory mount;
};

// Puts text in a place that ends with a zero, cut off if need be.
void put_text(std::array<char, Handover::kTextRoom>& place, std::string_view text);
// Why something could not be done: `message` and what goes with it. The first form does not allocate.
void put_error(Handover& handover, Errc code, int os_errno, std::string_view what);
void put_error(Handover& handover, const Error& error);
[[nodiscard]] Error error_in(const Handover& handover);

// A Handover that other processes can have too, as a file that has no name.
class SharedHandover {
 public:
  // Errors: no_memory.
  static Result<SharedHandover> create();
  // Of another process, perhaps of another version of this program. Errors: too_new or invalid when it is not one that
  // this program understands, no_memory.
  static Result<SharedHandover> open(UniqueFd file);
  SharedHandover(SharedHandover&& other) noexcept;
  SharedHandover& operator=(SharedHandover&&) = delete;
  ~SharedHandover();

  [[nodiscard]] Handover& operator*() const { return *memory_; }
  [[nodiscard]] Handover* operator->() const { return memory_; }
  [[nodiscard]] int descriptor() const { return file_.get(); }

 private:
  SharedHandover(UniqueFd file, Handover* memory) : file_(std::move(file)), memory_(memory) {}
  UniqueFd file_;
  Handover* memory_ = nullptr;
};

// Errors: no_space (more than there is room for).
[[nodiscard]] Result<void> write_record(Handover& handover, const MountRecord& record);
// Errors: invalid: not one, or one that this program could not honour (see handover.cpp).
[[nodiscard]] Result<MountRecord> read_record(const Handover& handover);

}  // namespace remapfs::cli
