// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <array>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <forward_list>
#include <libcuckoo/cuckoohash_map.hh>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "remapfs/remap_table.hpp"

// The remap table and what else could answer its questions, behind the same three calls:
//   Peer(expected entries); insert(block, mapping); find(block), of which only whether it is true matters here.
// Those that may be read while another thread changes them have erase(block) too: the remap table, libcuckoo, and a map
// behind a shared lock.

namespace remapfs::bench {

inline constexpr std::uint64_t kBlocks = std::uint64_t{1} << 32U;  // 16 TiB
inline constexpr BlockGeometry kGeometry(4096);
inline constexpr std::uint64_t kRangeBlocks = 256;  // 1 MiB

class Ours {
 public:
  static constexpr const char* kName = "table";
  explicit Ours(std::uint64_t /*entries*/) : table_(RemapTable::create(kBlocks, kGeometry).value()) {}
  void insert(std::uint64_t block, const Mapping& mapping) { table_->assign(BlockIndex(block), mapping); }
  void erase(std::uint64_t block) { table_->erase(BlockIndex(block)); }
  [[nodiscard]] auto find(std::uint64_t block) const { return table_->find(BlockIndex(block)); }
  [[nodiscard]] const RemapTable& table() const { return *table_; }

 private:
  std::unique_ptr<RemapTable> table_;
};

// The old way: one list, searched from the front.
class LinearList {
 public:
  static constexpr const char* kName = "list";
  explicit LinearList(std::uint64_t entries) { entries_.reserve(entries); }
  void insert(std::uint64_t block, const Mapping& mapping) { entries_.emplace_back(block, mapping); }
  [[nodiscard]] const Mapping* find(std::uint64_t block) const {
    const auto it = std::find_if(entries_.begin(), entries_.end(), [block](const auto& e) { return e.first == block; });
    return it == entries_.end() ? nullptr : &it->second;
  }

 private:
  std::vector<std::pair<std::uint64_t, Mapping>> entries_;
};

// 256 buckets that never become more, each a chain.
class Chained256 {
 public:
  static constexpr const char* kName = "chained_256";
  explicit Chained256(std::uint64_t /*entries*/) {}
  void insert(std::uint64_t block, const Mapping& mapping) { bucket(block).emplace_front(block, mapping); }
  [[nodiscard]] const Mapping* find(std::uint64_t block) const {
    for (const auto& [number, mapping] : buckets_[index(block)]) {
      if (number == block) return &mapping;
    }
    return nullptr;
  }

 private:
  using Chain = std::forward_list<std::pair<std::uint64_t, Mapping>>;
  static std::size_t index(std::uint64_t block) { return block * 0x9e3779b97f4a7c15U >> 56U; }
  Chain& bucket(std::uint64_t block) { return buckets_[index(block)]; }
  std::array<Chain, 256> buckets_;
};

// A map of a library, sized for its entries in advance.
template <class Map>
class LibraryMap {
 public:
  explicit LibraryMap(std::uint64_t entries) { map_.reserve(entries); }
  void insert(std::uint64_t block, const Mapping& mapping) { map_.emplace(block, mapping); }
  [[nodiscard]] const Mapping* find(std::uint64_t block) const {
    const auto it = map_.find(block);
    return it == map_.end() ? nullptr : &it->second;
  }

 private:
  Map map_;
};
struct StdMap : LibraryMap<std::unordered_map<std::uint64_t, Mapping>> {
  static constexpr const char* kName = "unordered_map";
  using LibraryMap::LibraryMap;
};
struct AbslMap : LibraryMap<absl::flat_hash_map<std::uint64_t, Mapping>> {
  static constexpr const char* kName = "absl_flat_hash_map";
  using LibraryMap::LibraryMap;
};
struct BoostMap : LibraryMap<boost::unordered_flat_map<std::uint64_t, Mapping>> {
  static constexpr const char* kName = "boost_flat_map";
  using LibraryMap::LibraryMap;
};

// What one would write who needs a map for several threads.
class LockedBoostMap {
 public:
  static constexpr const char* kName = "boost_flat_map_locked";
  explicit LockedBoostMap(std::uint64_t entries) { map_.reserve(entries + entries / 8 + 1024); }
  void insert(std::uint64_t block, const Mapping& mapping) {
    const std::unique_lock lock(mutex_);
    map_.emplace(block, mapping);
  }
  void erase(std::uint64_t block) {
    const std::unique_lock lock(mutex_);
    map_.erase(block);
  }
  [[nodiscard]] std::optional<Mapping> find(std::uint64_t block) const {
    const std::shared_lock lock(mutex_);
    const auto it = map_.find(block);
    if (it == map_.end()) return std::nullopt;
    return it->second;
  }

 private:
  mutable std::shared_mutex mutex_;
  boost::unordered_flat_map<std::uint64_t, Mapping> map_;
};

class CuckooMap {
 public:
  static constexpr const char* kName = "libcuckoo";
  explicit CuckooMap(std::uint64_t entries) : map_(std::max<std::uint64_t>(entries, 64)) {}
  void insert(std::uint64_t block, const Mapping& mapping) { map_.insert(block, mapping); }
  void erase(std::uint64_t block) { map_.erase(block); }
  [[nodiscard]] std::optional<Mapping> find(std::uint64_t block) const {
    Mapping mapping;
    if (!map_.find(block, mapping)) return std::nullopt;
    return mapping;
  }

 private:
  libcuckoo::cuckoohash_map<std::uint64_t, Mapping> map_;
};

// Calls use(block's answer) for a whole range, the way each would be used: ours by runs, the others block by block.
template <class Peer, class Use>
void look_up_range(const Peer& peer, std::uint64_t first, Use&& use) {
  for (std::uint64_t block = first; block < first + kRangeBlocks; ++block) use(peer.find(block));
}
template <class Use>
void look_up_range(const Ours& peer, std::uint64_t first, Use&& use) {
  const ByteRange range{kGeometry.begin_of(BlockIndex(first)), kGeometry.begin_of(BlockIndex(first + kRangeBlocks))};
  peer.table().for_each_run(range, [&](const Run& run) { return use(run.range), true; });
}

}  // namespace remapfs::bench
