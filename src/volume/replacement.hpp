// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "volume/impl.hpp"

namespace remapfs {

// One replacement of the primary, from the first copy to the switch: replacement_copy.cpp copies, replace.cpp has the
// rest, and says how it could lose data. Threads: one.
class Volume::Impl::Replacement {
 public:
  Replacement(Impl& volume, NewPrimary& next)
      : volume_(volume), old_(volume.share(0)), next_(next), dirty_(*volume.dirty) {}

  Result<void> run(const CopyPace& pace);

 private:
  Result<void> copy_and_switch(const CopyPace& pace);
  Result<bool> copy_step(ByteOffset& from, std::uint64_t most);

  // The first byte that was not copied, for lack of time. What is behind it is dirty again, after an error all of it.
  Result<ByteOffset> copy_stretch(ByteRange range);
  // From where the table says that the data is on the primary. The first bytes that are not simply to be read; empty
  // when all is done.
  Result<ByteRange> copy_fast(ByteRange range);
  Result<void> copy_with_care(BlockIndex block);
  Result<void> copy_valid(const HeldBlock& held, std::span<std::byte> buffer);
  Result<void> write(ByteOffset at, std::span<const std::byte> data);
  [[nodiscard]] static ByteRange piece_of(ByteRange range);
  [[nodiscard]] bool little_is_left() const;
  // With every block held: true when it was done, false when some of it needs care or time, which this cannot give.
  Result<bool> try_to_switch();
  [[nodiscard]] Result<void> all_is_well() const;
  Result<void> sync_both();
  Result<void> sync_new();
  Result<bool> copy_rest(std::span<std::byte> buffer);
  Result<bool> copy_held(ByteRange range, std::span<std::byte> buffer);
  [[nodiscard]] static MapChange change_of(BlockIndex block, const Mapping& mapping);
  [[nodiscard]] Error about_poisoned(BlockIndex block) const;
  // Errors: suspended, failed: blocks that answer nothing.
  [[nodiscard]] Result<std::vector<MapChange>> rows_to_change() const;
  [[nodiscard]] bool too_many_rows() const;
  Result<void> mark_rows();
  Result<BlockIndex> mark_some_rows(BlockIndex from);
  Result<void> commit();
  void take_over();
  void forget_changes() {
    old_->device().mark_changes_in(nullptr);
    volume_.copied_from = nullptr;
  }

  Impl& volume_;
  const std::shared_ptr<Member> old_;
  NewPrimary& next_;
  DirtyMap& dirty_;
  bool rows_marked_ = false;
  bool new_device_failed_ = false;  // it ends the replacement, whatever the error is
  // Of this pass.
  bool needs_care_ = false;  // some of it could not be copied
  std::uint64_t copied_ = 0;
  std::chrono::nanoseconds took_{0};
};

}  // namespace remapfs
