// SPDX-License-Identifier: Apache-2.0
#include "support/simulated_medium.hpp"

#include <algorithm>
#include <cstring>

#include "support/random.hpp"

namespace remapfs::testing {

SimulatedMedium::SimulatedMedium(ByteCount size) : size_(size.value()) {}

std::byte* SimulatedMedium::place_for(std::uint64_t offset) {
  std::unique_ptr<Chunk>& chunk = chunks_[offset / kChunkSize];
  if (!chunk) chunk = std::make_unique<Chunk>();  // value-initialised: zeros
  return chunk->data() + offset % kChunkSize;
}

const std::byte* SimulatedMedium::find(std::uint64_t offset) const {
  const auto it = chunks_.find(offset / kChunkSize);
  return it == chunks_.end() ? nullptr : it->second->data() + offset % kChunkSize;
}

void SimulatedMedium::read(ByteOffset offset, std::span<std::byte> out) const {
  std::uint64_t at = offset.value();
  while (!out.empty()) {
    const std::size_t n = std::min<std::uint64_t>(out.size(), kChunkSize - at % kChunkSize);
    if (const std::byte* from = find(at)) {
      std::memcpy(out.data(), from, n);
    } else {
      std::memset(out.data(), 0, n);
    }
    out = out.subspan(n);
    at += n;
  }
}

void SimulatedMedium::read_durable(ByteOffset offset, std::span<std::byte> out) const {
  read(offset, out);
  if (out.empty()) return;
  const std::uint64_t begin = offset.value();
  const std::uint64_t end = begin + out.size();
  for (std::uint64_t sector = begin / kSectorSize; sector * kSectorSize < end; ++sector) {
    const auto it = unsynced_.find(sector);
    if (it == unsynced_.end()) continue;
    const std::uint64_t from = std::max(begin, sector * kSectorSize);
    const std::uint64_t to = std::min(end, (sector + 1) * kSectorSize);
    std::memcpy(out.data() + (from - begin), it->second.versions.front().data() + from % kSectorSize, to - from);
  }
}

// Called before a sector changes.
void SimulatedMedium::remember(std::uint64_t sector) {
  Unsynced& entry = unsynced_[sector];
  entry.in_doubt = false;
  Sector& old = entry.versions.emplace_back();
  read(ByteOffset(sector * kSectorSize), old);
  if (entry.versions.size() > kVersionsKept) entry.versions.erase(entry.versions.begin() + 1);
}

void SimulatedMedium::write(ByteOffset offset, std::span<const std::byte> data) {
  for (std::size_t done = 0; done < data.size(); done += kSectorSize) {
    const std::uint64_t at = offset.value() + done;
    remember(at / kSectorSize);
    std::memcpy(place_for(at), data.data() + done, kSectorSize);
  }
}

void SimulatedMedium::zero(ByteRange range) {
  static constexpr Sector kZeros{};
  for (std::uint64_t at = range.begin.value(); at < range.end.value(); at += kSectorSize) {
    write(ByteOffset(at), kZeros);
  }
}

void SimulatedMedium::punch(ByteRange range) {
  std::uint64_t at = range.begin.value();
  while (at < range.end.value()) {
    const std::uint64_t chunk_begin = round_down(at, kChunkSize);
    const std::uint64_t chunk_end = std::min(chunk_begin + kChunkSize, size_);
    const std::uint64_t end = std::min(chunk_end, range.end.value());
    if (at == chunk_begin && end == chunk_end) {
      for (; at < end; at += kSectorSize) remember(at / kSectorSize);
      chunks_.erase(chunk_begin / kChunkSize);
    } else {
      zero({ByteOffset(at), ByteOffset(end)});
      at = end;
    }
  }
}

void SimulatedMedium::poke(ByteOffset offset, std::span<const std::byte> data) {
  for (std::size_t done = 0; done < data.size();) {
    const std::uint64_t at = offset.value() + done;
    const std::size_t n = std::min<std::uint64_t>(data.size() - done, kSectorSize - at % kSectorSize);
    std::memcpy(place_for(at), data.data() + done, n);
    unsynced_.erase(at / kSectorSize);
    done += n;
  }
}

void SimulatedMedium::sync() {
  std::erase_if(unsynced_, [](const auto& entry) { return !entry.second.in_doubt; });
}

void SimulatedMedium::doubt_unsynced() {
  for (auto& [sector, entry] : unsynced_) entry.in_doubt = true;
}

void SimulatedMedium::restore(std::uint64_t sector, const Sector& content) {
  std::memcpy(place_for(sector * kSectorSize), content.data(), kSectorSize);
}

void SimulatedMedium::crash(std::uint64_t seed) {
  // In order of position, so that one seed gives one outcome.
  std::vector<std::uint64_t> sectors;
  sectors.reserve(unsynced_.size());
  for (const auto& [sector, entry] : unsynced_) sectors.push_back(sector);
  std::sort(sectors.begin(), sectors.end());
  Random random(seed);
  for (const std::uint64_t sector : sectors) {
    const std::vector<Sector>& versions = unsynced_.at(sector).versions;
    // Index versions.size() stands for the current content.
    if (const std::uint64_t kept = random.below(versions.size() + 1); kept < versions.size()) {
      restore(sector, versions[kept]);
    }
  }
  unsynced_.clear();
}

void SimulatedMedium::crash_all_lost() {
  for (const auto& [sector, entry] : unsynced_) restore(sector, entry.versions.front());
  unsynced_.clear();
}

std::optional<ByteOffset> SimulatedMedium::next_data(ByteOffset from) const {
  for (std::uint64_t at = from.value(); at < size_; at = round_down(at, kChunkSize) + kChunkSize) {
    if (find(at) != nullptr) return ByteOffset(at);
  }
  return std::nullopt;
}

std::optional<ByteOffset> SimulatedMedium::next_hole(ByteOffset from) const {
  for (std::uint64_t at = from.value(); at < size_; at = round_down(at, kChunkSize) + kChunkSize) {
    if (find(at) == nullptr) return ByteOffset(at);
  }
  return std::nullopt;
}

}  // namespace remapfs::testing
