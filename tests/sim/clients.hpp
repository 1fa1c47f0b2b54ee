// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>

#include "sim/circumstances.hpp"

namespace remapfs::sim {

// Those who read and write the disk, and who use the verbs for blocks: what they are answered is held against the
// oracle. Threads: as World.
class Clients {
 public:
  explicit Clients(Circumstances& now) : now_(now) {}

  // One client or several at a time make some requests each. beside: what goes on meanwhile, if anything.
  void run(Random& random, std::function<void()> beside = {});
  // Without others. Reads sector by sector; settle: what is read is what has survived a loss of power.
  void look_at_everything(bool settle);
  // True when the bytes were given.
  bool read(std::uint64_t offset, std::span<std::byte> data);
  void add(BlockIndex block);
  void write_block(Random& random, BlockIndex block);
  std::uint64_t random_block(Random& random) const;
  // While it is true, reads are not traced one by one.
  void set_looking(bool looking) { looking_ = looking; }

 private:
  void request(Random& random);
  std::pair<std::uint64_t, std::uint64_t> some_range(Random& random, std::uint64_t smallest);
  std::optional<Result<void>> transfer(ByteRange range, std::span<std::byte> memory, bool write);
  Result<std::size_t> read_either_way(std::uint64_t offset, std::span<std::byte> data);
  Result<void> write_either_way(ByteRange range, std::span<std::byte> data);
  void write(Random& random);
  void zero(Random& random);
  template <class CarryOut>
  void change(std::uint64_t offset, std::uint64_t length, std::span<const std::byte> sectors, CarryOut&& carry_out);
  void failed_to_change(Oracle::Moment begun, std::uint64_t offset, std::uint64_t length, const Error& error);
  [[nodiscard]] bool cuts_excused(Oracle::Moment begun, std::uint64_t unit_begin, std::uint64_t at) const;
  void flush();
  void verb(Random& random);
  void remove(BlockIndex block);
  void mark_lost(BlockIndex block);
  void import_from(BlockIndex block);

  Circumstances& now_;
  bool alone_ = true;     // no other client
  bool looking_ = false;  // at every sector
  bool flushed_ = false;  // or tried to
};

}  // namespace remapfs::sim
