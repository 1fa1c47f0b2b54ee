// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "remapfs/error.hpp"
#include "remapfs/units.hpp"

namespace remapfs::cli {

// A part of a disk as a file that can be read everywhere: what cannot be is zeros. For tools that give up at the first
// bad sector. Nobody but this user sees it, and nobody can write to it.
//
// Threads: one; makes some of its own while it lives, and must not be made while others run.
class SalvageView {
 public:
  // Fills the buffer or fails; any thread. Offsets and lengths are multiples of 512, but for the end of the disk.
  using Read = std::function<Result<void>(ByteOffset offset, std::span<std::byte> buffer)>;

  // Errors: those of mounting.
  static Result<std::unique_ptr<SalvageView>> make(Read read, ByteRange range);
  virtual ~SalvageView() = default;
  SalvageView(const SalvageView&) = delete;
  SalvageView& operator=(const SalvageView&) = delete;

  [[nodiscard]] virtual const std::string& path() const = 0;

 protected:
  SalvageView() = default;
};

}  // namespace remapfs::cli
