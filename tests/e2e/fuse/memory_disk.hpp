// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "core/unique_fd.hpp"
#include "fuse/virtual_disk.hpp"

namespace remapfs::fuse::test {

inline constexpr std::uint64_t kMiB = 1U << 20U;

enum class Access : std::uint8_t { read, write, flush, zero, punch };
inline constexpr std::size_t kAccesses = 5;

// A disk in memory shared between processes: the server serves it, the test looks at its bytes, arms faults and counts
// what arrived, and still has it after the server was killed.
class SharedMemory {
 public:
  explicit SharedMemory(std::uint64_t size);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }
  [[nodiscard]] int descriptor() const { return file_.get(); }
  // Fills the disk with bytes that tell their position.
  void fill_with_pattern() const;
  static std::byte pattern(std::uint64_t offset);
  static bool has_pattern(std::span<const std::byte> bytes, std::uint64_t offset);

  struct Fault {
    std::atomic<bool> armed{false};
    Access access{};
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    Errc code{};
  };
  struct State {
    std::array<Fault, 16> faults;
    std::array<std::atomic<std::uint64_t>, kAccesses> calls{};
    std::atomic<std::uint64_t> writes_in_flight{0};
    std::atomic<bool> hold_writes{false};  // writes wait while this is set
    std::atomic<bool> hold_begins{false};  // begin() waits while this is set
    std::atomic<std::uint64_t> begun{0};   // accesses between begin() and end()
    std::atomic<std::uint64_t> most_begun{0};
    // The next flush finds a disk that was lost and came back, with junk all over it; it succeeds.
    std::atomic<bool> lost_in_flush{false};
    std::atomic<std::uint64_t> generation{0};     // how often that has happened
    std::atomic<std::uint64_t> flush_to_fail{0};  // 1: the next one, 2: the one after that; 0: none
    std::atomic<bool> read_only{false};
    std::atomic<bool> can_punch{true};
    // What seeks call data; the rest is a hole.
    std::atomic<std::uint64_t> data_begin{0};
    std::atomic<std::uint64_t> data_end{UINT64_MAX};
  };
  [[nodiscard]] State& state() const { return *state_; }

  // From now on accesses that touch [begin, end) fail.
  void arm(Access access, std::uint64_t begin, std::uint64_t end, Errc code) const;
  void disarm_all() const;
  [[nodiscard]] std::uint64_t calls(Access access) const {
    return state_->calls[static_cast<std::size_t>(access)].load();
  }

 private:
  State* state_;
  UniqueFd file_;
  std::span<std::byte> bytes_;
};

class MemoryDisk final : public VirtualDisk {
 public:
  explicit MemoryDisk(const SharedMemory& memory) : memory_(memory) {}

  [[nodiscard]] ByteCount size() const override { return ByteCount(memory_.bytes().size()); }
  [[nodiscard]] bool read_only() const override { return memory_.state().read_only; }
  Result<std::size_t> read(ByteOffset offset, std::span<std::byte> buffer) override;
  Result<void> write(ByteOffset offset, std::span<const std::byte> data) override;
  Result<void> flush() override;
  [[nodiscard]] std::uint64_t generation() const override { return memory_.state().generation; }
  Result<void> zero(ByteRange range) override { return clear(Access::zero, range); }
  Result<void> punch(ByteRange range) override { return clear(Access::punch, range); }
  [[nodiscard]] bool can_punch() const override { return memory_.state().can_punch; }
  Result<ByteOffset> seek_data(ByteOffset from) override;
  Result<ByteOffset> seek_hole(ByteOffset from) override;

  // Transfers that are to fail are given a descriptor that does not work.
  bool begin(DirectAccess& access, ByteRange range, const std::byte* memory, bool write) override;
  bool end(DirectAccess& access) override;
  Result<void> recover(DirectAccess& access, std::byte* memory) override;

 private:
  [[nodiscard]] std::optional<Errc> armed(Access access, std::uint64_t begin, std::uint64_t end) const;
  static bool is_done(DirectAccess& access);
  Result<void> check(Access access, std::uint64_t begin, std::uint64_t end);
  Result<void> clear(Access access, ByteRange range);

  const SharedMemory& memory_;
};

}  // namespace remapfs::fuse::test
