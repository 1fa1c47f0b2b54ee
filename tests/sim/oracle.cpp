// SPDX-License-Identifier: Apache-2.0
#include "sim/oracle.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "remapfs/error.hpp"

namespace remapfs::sim {

Oracle::Oracle(std::span<const std::byte> first) : sectors_(first.size() / kSectorSize) {
  for (std::size_t i = 0; i < sectors_.size(); ++i) {
    Candidate& candidate = sectors_[i].candidates.emplace_back();
    std::memcpy(candidate.content.data(), first.data() + i * kSectorSize, kSectorSize);
    sectors_[i].written.emplace_back(0, candidate.content);
  }
}

Oracle::Write Oracle::begin_write(std::uint64_t offset, std::span<const std::byte> data) {
  REMAPFS_INVARIANT(is_aligned(offset, kSectorSize) && is_aligned(data.size(), kSectorSize));
  const Write write{now(), {ByteOffset(offset), ByteOffset(offset + data.size())}};
  for (std::size_t done = 0; done < data.size(); done += kSectorSize) {
    Candidate& candidate = sectors_[(offset + done) / kSectorSize].candidates.emplace_back();
    std::memcpy(candidate.content.data(), data.data() + done, kSectorSize);
    candidate.begun = write.begun;
    candidate.ended = kNever;
    sectors_[(offset + done) / kSectorSize].written.emplace_back(write.begun, candidate.content);
  }
  return write;
}

void Oracle::end_write(const Write& write, bool acknowledged) {
  const Moment ended = now();
  for (std::uint64_t s = write.sectors.begin.value() / kSectorSize; s < write.sectors.end.value() / kSectorSize; ++s) {
    Sector& sector = sectors_[s];
    for (Candidate& candidate : sector.candidates) {
      if (candidate.begun == write.begun) {
        candidate.ended = ended;
      } else if (acknowledged && candidate.ended < write.begun) {
        candidate.replaced_at = sector.in_doubt ? ended : std::min(candidate.replaced_at, ended);
        candidate.hidden_at = std::min(candidate.hidden_at, ended);
      }
    }
    if (acknowledged) sector.in_doubt = false;
  }
}

std::optional<std::string> Oracle::check_read(Moment begun, std::uint64_t offset, std::span<const std::byte> data) {
  const Moment ended = now();
  for (std::size_t done = 0; done < data.size();) {
    const std::uint64_t at = offset + done;
    const std::uint64_t inside = at % kSectorSize;
    const std::size_t length = std::min<std::size_t>(data.size() - done, kSectorSize - inside);
    auto& candidates = sectors_[at / kSectorSize].candidates;
    const auto shown = [&](const Candidate& candidate) {
      return std::memcmp(candidate.content.data() + inside, data.data() + done, length) == 0;
    };
    const bool right = std::any_of(candidates.begin(), candidates.end(),
                                   [&](const Candidate& c) { return c.hidden_at >= begun && shown(c); });
    if (!right) {
      std::string found = "what was never written there";
      for (const auto& [moment, content] : sectors_[at / kSectorSize].written) {
        if (std::memcmp(content.data() + inside, data.data() + done, length) == 0)
          found = fmt::format("the write of {}", moment);
      }
      std::string allowed;
      for (const Candidate& c : candidates) {
        if (c.hidden_at >= begun) allowed += fmt::format(" {}-{}", c.begun, c.ended == kNever ? 0 : c.ended);
      }
      return fmt::format("a read from {} to {} found in sector {} {}; allowed were{}", begun, ended, at / kSectorSize,
                         found, allowed);
    }
    // What this read did not show, and was there before it, is gone: until power is lost.
    for (Candidate& candidate : candidates) {
      if (shown(candidate) || candidate.ended >= begun) continue;
      candidate.replaced_at = std::min(candidate.replaced_at, ended);
      candidate.hidden_at = std::min(candidate.hidden_at, ended);
    }
    done += length;
  }
  return std::nullopt;
}

void Oracle::flushed(Moment begun) {
  for (Sector& sector : sectors_) {
    if (sector.in_doubt) continue;
    for (Candidate& candidate : sector.candidates) {
      if (candidate.replaced_at < begun) candidate.flushed_away = true;
    }
  }
}

void Oracle::forget() {
  for (Sector& sector : sectors_) {
    std::erase_if(sector.candidates, [](const Candidate& c) { return c.flushed_away && c.hidden_at != kNever; });
  }
}

void Oracle::settled(std::uint64_t offset, std::span<const std::byte> data) {
  Candidate candidate;
  std::memcpy(candidate.content.data(), data.data(), kSectorSize);
  candidate.begun = candidate.ended = now();
  sectors_[offset / kSectorSize] = {{candidate}, false, std::move(sectors_[offset / kSectorSize].written)};
}

void Oracle::lose_power() {
  forget();
  for (Sector& sector : sectors_) {
    for (Candidate& candidate : sector.candidates) {
      candidate.ended = std::min(candidate.ended, now_);
      candidate.hidden_at = kNever;
      candidate.replaced_at = kNever;
    }
  }
}

void Oracle::doubt() {
  for (Sector& sector : sectors_) sector.in_doubt = true;
}

const Oracle::Content* Oracle::certain(std::uint64_t sector) const {
  const Content* only = nullptr;
  for (const Candidate& candidate : sectors_[sector].candidates) {
    if (candidate.hidden_at != kNever) continue;
    if (only != nullptr && *only != candidate.content) return nullptr;
    only = &candidate.content;
  }
  return only;
}

}  // namespace remapfs::sim
