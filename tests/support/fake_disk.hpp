// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "remapfs/block_device.hpp"
#include "remapfs/thread_annotations.hpp"
#include "support/simulated_medium.hpp"

namespace remapfs::testing {

// What a FakeDisk is asked to do, as hooks and fail_nth() see it.
struct FakeOperation {
  enum class Kind : std::uint8_t { read, write, sync, seek };  // zero_range and punch_hole are writes
  Kind kind = Kind::read;
  ByteRange range;  // empty for sync and seek
};

// A range of sectors that fails.
struct FaultRule {
  enum class On : std::uint8_t { read, write, both };
  enum class Lasts : std::uint8_t {
    always,         // until the rule is removed
    times,          // the first `times` requests that meet it, then the range works
    until_written,  // a sector fails until a write has covered it: the drive reallocates. Where writes fail too, that
                    // write is the last to fail, and the sector holds junk from then on
  };
  ByteRange range;  // whole sectors
  On on = On::both;
  Lasts lasts = Lasts::always;
  std::uint64_t times = 1;
  Error error{Errc::media, EIO, {}};
};
using FaultId = std::uint64_t;

// How a FakeDisk as a whole misbehaves.
enum class Outage : std::uint8_t {
  none,
  gone,       // everything fails with device_gone / ENODEV, reopen() too
  failing,    // every read, write and sync fails with media / EIO
  read_only,  // reads work; writes and syncs fail with media / EIO, as of a drive that protects itself
};

struct FakeDiskCounters {
  std::uint64_t reads = 0;   // every one is counted when asked for, also those that fail
  std::uint64_t writes = 0;  // without zeroes and punches
  std::uint64_t zeroes = 0;
  std::uint64_t punches = 0;
  std::uint64_t syncs = 0;
  std::uint64_t bytes_read = 0;  // of those that succeeded
  std::uint64_t bytes_written = 0;
  std::uint64_t failures = 0;  // operations answered with an error
  std::uint64_t cache_drops = 0;
  std::uint64_t reopens = 0;
};

// A disk in memory that fails like a disk and checks its callers.
//
// Checks: a transfer off the logical-block grid (it may end at the end of the disk), past the end, or from memory that
//   is misaligned while geometry().direct, is a bug of the caller and ends the program (REMAPFS_INVARIANT).
// Failures: a failed read scribbles over the whole buffer. A failed write has written what lies before the first
//   failing sector, that sector keeps its old content, and nothing after it is written.
// Durability: writes go to a volatile cache that every read sees; sync() makes them durable. crash() leaves every
//   unsynced sector (512 bytes, so larger blocks tear) at a random one of the contents it had since it was last
//   durable. Writes that a failed sync should have covered stay in doubt: later syncs that succeed do not make them
//   durable, only writing them again does.
// Threads: everything from any thread. Hooks run without any lock held.
class FakeDisk final : public BlockDevice {
 public:
  using Hook = std::function<void(const FakeOperation&)>;

  // geometry.size is replaced by size.
  explicit FakeDisk(ByteCount size, DeviceGeometry geometry = {}, std::string name = "fake-disk");
  // The same with the given logical block, and memory aligned to it.
  static std::unique_ptr<FakeDisk> with_logical_block(ByteCount size, std::uint32_t logical_block);

  [[nodiscard]] const DeviceGeometry& geometry() const override { return geometry_; }
  [[nodiscard]] const std::string& name() const override { return name_; }
  Result<void> read_exact(ByteOffset offset, std::span<std::byte> buffer) override;
  Result<void> write_all(ByteOffset offset, std::span<const std::byte> data) override;
  Result<void> sync() override;
  Result<void> zero_range(ByteRange range) override;
  Result<void> punch_hole(ByteRange range) override;
  // Knows holes (unwritten chunks of SimulatedMedium) when punches_cheaply, else everything is data.
  Result<ByteOffset> seek_data(ByteOffset from) override;
  Result<ByteOffset> seek_hole(ByteOffset from) override;
  void drop_cache(ByteRange range) override;
  Result<void> reopen() override;
  [[nodiscard]] int native_handle() const override { return -1; }
  [[nodiscard]] bool ready_for(bool /*write*/) const override { return true; }
  [[nodiscard]] Error failure_of(int os_errno) const override { return {Errc::device_other, os_errno, {}}; }

  // --- Faults. All of them may be changed while transfers run. ---

  FaultId add_fault(const FaultRule& rule);
  // Reads and writes of these sectors fail for good.
  FaultId add_bad_sectors(std::uint64_t first_sector, std::uint64_t count, FaultRule::On on = FaultRule::On::both);
  void remove_fault(FaultId id);
  void clear_faults();
  // Requests that this rule failed; kept after the rule is removed.
  [[nodiscard]] std::uint64_t fault_hits(FaultId id) const;

  void set_outage(Outage outage);
  [[nodiscard]] Outage outage() const;
  // The next `times` syncs fail; 0 stops it, kAlways does not end.
  static constexpr std::uint64_t kAlways = ~std::uint64_t{0};
  void fail_syncs(std::uint64_t times, Error error = {Errc::media, EIO, {}});
  // The n-th operation from now (1 is the next), of any kind, fails without effect. For tests that fail every
  // operation once in turn: they are done when nth_failed() stays false.
  void fail_nth(std::uint64_t n, Error error = {Errc::media, EIO, {}});
  [[nodiscard]] bool nth_failed() const;
  // Power goes away at the n-th write or sync from now (1 is the next). A write still reaches the cache, a sync has no
  // effect; both fail with device_gone, as does everything after until crash() or crash_all_lost().
  void cut_power_after(std::uint64_t n);
  [[nodiscard]] bool power_is_off() const;
  // What reopen() finds: another device.
  void set_replaced(bool replaced);

  // Called before the operation has any effect; empty removes. A hook may block and may use the disk.
  void set_before(Hook hook);
  // Called after it took effect, before its caller knows. Not called for operations that failed. Of seeks, which do not
  // count as operations, this alone hears.
  void set_after(Hook hook);

  // --- Power loss. Only while no transfer is in flight. Faults stay; power comes back. ---

  void crash(std::uint64_t seed);
  void crash_all_lost();
  [[nodiscard]] std::uint64_t unsynced_sectors() const;

  // --- Contents, bypassing faults, checks, hooks and counters; any grid. ---

  void peek(ByteOffset offset, std::span<std::byte> out) const;
  [[nodiscard]] std::vector<std::byte> peek(ByteRange range) const;
  // What crash_all_lost() would leave.
  void peek_durable(ByteOffset offset, std::span<std::byte> out) const;
  [[nodiscard]] std::vector<std::byte> peek_durable(ByteRange range) const;
  // Changes bytes both now and durably.
  void poke(ByteOffset offset, std::span<const std::byte> data);

  [[nodiscard]] FakeDiskCounters counters() const;
  void reset_counters();
  // Reads, writes, zeroes, punches and syncs asked for since construction.
  [[nodiscard]] std::uint64_t operations() const;

 private:
  struct ActiveFault {
    FaultRule rule;
    std::uint64_t remaining;        // for Lasts::times
    std::set<std::uint64_t> cured;  // sectors, for Lasts::until_written
  };
  struct Hit {
    FaultId id;
    std::uint64_t sector;
  };

  void check(ByteRange range) const;
  void run_hook(const std::shared_ptr<const Hook>& which, const FakeOperation& operation);
  std::shared_ptr<const Hook> before() const EXCLUDES(mutex_);
  std::shared_ptr<const Hook> after() const EXCLUDES(mutex_);
  std::optional<Error> refuse(FakeOperation::Kind kind) REQUIRES(mutex_);
  std::optional<Hit> first_hit(ByteRange range, FakeOperation::Kind kind) const REQUIRES(mutex_);
  Error spend(const Hit& hit) REQUIRES(mutex_);
  void cure(ByteRange range) REQUIRES(mutex_);
  void reallocate(std::uint64_t sector) REQUIRES(mutex_);
  using Apply = std::function<void(SimulatedMedium&, ByteRange)>;
  Result<void> change(ByteRange range, std::uint64_t FakeDiskCounters::*counter, const Apply& apply);

  DeviceGeometry geometry_;
  const std::string name_;

  mutable Mutex mutex_;
  SimulatedMedium medium_ GUARDED_BY(mutex_);
  std::map<FaultId, ActiveFault> faults_ GUARDED_BY(mutex_);
  std::map<FaultId, std::uint64_t> hits_ GUARDED_BY(mutex_);
  FaultId next_fault_ GUARDED_BY(mutex_) = 1;
  Outage outage_ GUARDED_BY(mutex_) = Outage::none;
  std::uint64_t failing_syncs_ GUARDED_BY(mutex_) = 0;
  Error sync_error_ GUARDED_BY(mutex_);
  std::uint64_t until_nth_ GUARDED_BY(mutex_) = 0;
  Error nth_error_ GUARDED_BY(mutex_);
  bool nth_failed_ GUARDED_BY(mutex_) = false;
  std::uint64_t until_power_cut_ GUARDED_BY(mutex_) = 0;
  bool power_off_ GUARDED_BY(mutex_) = false;
  bool replaced_ GUARDED_BY(mutex_) = false;
  std::shared_ptr<const Hook> before_ GUARDED_BY(mutex_);
  std::shared_ptr<const Hook> after_ GUARDED_BY(mutex_);
  FakeDiskCounters counters_ GUARDED_BY(mutex_);
  std::uint64_t operations_ GUARDED_BY(mutex_) = 0;
};

}  // namespace remapfs::testing
