// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "remapfs/units.hpp"

namespace remapfs::sim {

// What a disk may hold: for every sector each content that the promises allow, given what was asked, answered and lost.
//
// Moments are counted by the oracle; a request lasts from its begin to its end. Two requests whose times overlap have
// no order; all others have. Threads: one at a time.
class Oracle {
 public:
  using Content = std::array<std::byte, kSectorSize>;
  using Moment = std::uint64_t;
  struct Write {
    Moment begun = 0;
    ByteRange sectors;  // whole ones
  };

  // first: what the disk holds in the beginning, durably.
  explicit Oracle(std::span<const std::byte> first);

  // A write of whole sectors is asked for.
  [[nodiscard]] Write begin_write(std::uint64_t offset, std::span<const std::byte> data);
  // It was answered. Not acknowledged: old or new, sector by sector.
  void end_write(const Write& write, bool acknowledged);

  [[nodiscard]] Moment now() { return ++now_; }
  // What a read that began then was given; nothing, or what is wrong with it.
  [[nodiscard]] std::optional<std::string> check_read(Moment begun, std::uint64_t offset,
                                                      std::span<const std::byte> data);
  // A flush that began then succeeded.
  void flushed(Moment begun);
  // No request is on its way: contents that neither a read nor a loss of power can show any more are forgotten.
  void forget();

  // Power was lost, and the sector (whole) then read as this.
  void settled(std::uint64_t offset, std::span<const std::byte> data);
  // Power was lost: any content that no flush had made impossible may be there.
  void lose_power();
  // A flush failed, or another sync: older contents stay possible after a loss of power, until a sector is written and
  // flushed again.
  void doubt();

  // Whether older contents may come back although a flush succeeded since.
  [[nodiscard]] bool in_doubt(std::uint64_t sector) const { return sectors_[sector].in_doubt; }

  // The content of a sector, where only one is possible now.
  [[nodiscard]] const Content* certain(std::uint64_t sector) const;

 private:
  static constexpr Moment kNever = ~Moment{0};
  struct Candidate {
    Content content;
    Moment begun = 0;
    Moment ended = 0;             // kNever: not yet answered
    Moment replaced_at = kNever;  // a later write was acknowledged, or a later read showed another content
    Moment hidden_at = kNever;    // from then on no read shows it while the power stays on
    bool flushed_away = false;    // a flush has made another content durable
  };

  struct Sector {
    std::vector<Candidate> candidates;
    bool in_doubt = false;
    std::vector<std::pair<Moment, Content>> written;  // all of it, to say what was found when something is wrong
  };

  std::vector<Sector> sectors_;
  Moment now_ = 0;
};

}  // namespace remapfs::sim
