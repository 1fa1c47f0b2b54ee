// SPDX-License-Identifier: Apache-2.0
#include "support/large_map.hpp"

#include "io/posix_device.hpp"
#include "store/sqlite_map_store.hpp"

namespace remapfs::testing {
namespace {

constexpr std::uint64_t kEntriesACommit = 1'000'000;

Result<void> commit(store::SqliteMapStore& store, MapTransaction& transaction) {
  const auto report = store.commit(transaction);
  transaction.changes.clear();
  if (!report) return fail(report.error().error);
  return {};
}

// Loads a store whose spare is attached, adds the entries and closes it.
Result<void> add_entries(store::SqliteMapStore& store, std::uint64_t count,
                         const std::function<RemapRow(std::uint64_t)>& entry) {
  if (auto loaded = store.load([](std::span<const RemapRow>) { return Result<void>(); }); !loaded) return loaded;
  MapTransaction transaction;
  transaction.changes.reserve(std::min(count, kEntriesACommit));
  for (std::uint64_t i = 0; i < count; ++i) {
    MapChange change;
    change.row = entry(i);
    change.block = change.row.block;
    transaction.changes.push_back(std::move(change));
    if (transaction.changes.size() < kEntriesACommit) continue;
    if (auto done = commit(store, transaction); !done) return done;
  }
  if (!transaction.empty()) {
    if (auto done = commit(store, transaction); !done) return done;
  }
  return store.close();
}

}  // namespace

Result<void> add_entries(const std::string& map_path, BlockDevice& spare, std::uint64_t count,
                         const std::function<RemapRow(std::uint64_t)>& entry) {
  auto store = store::SqliteMapStore::open(map_path, {});
  if (!store) return fail(store.error());
  if (auto attached = (*store)->attach_spare(1, spare); !attached) return attached;
  return add_entries(**store, count, entry);
}

Result<void> add_entries(const std::string& map_path, std::uint64_t count,
                         const std::function<RemapRow(std::uint64_t)>& entry) {
  auto store = store::SqliteMapStore::open(map_path, {});
  if (!store) return fail(store.error());
  auto spare = open_device((*store)->info().spares.front().path);
  if (!spare) return fail(spare.error());
  if (auto attached = (*store)->attach_spare(1, **spare); !attached) return attached;
  return add_entries(**store, count, entry);
}

}  // namespace remapfs::testing
