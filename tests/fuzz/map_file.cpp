// SPDX-License-Identifier: Apache-2.0
// The bytes of a map file: whatever is changed in them, the map is refused, or says of every block what it said before.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "fuzz/fuzz_input.hpp"
#include "store/check.hpp"
#include "store/sqlite_map_store.hpp"
#include "support/create_spec.hpp"
#include "support/fake_disk.hpp"
#include "support/large_map.hpp"
#include "support/temp_dir.hpp"

namespace {

using namespace remapfs;
using Entries = std::map<std::uint64_t, Mapping>;

struct GoodVolume {
  const testing::TempDir directory{"/dev/shm"};
  const std::string path = directory / "map";
  std::unique_ptr<testing::FakeDisk> spare = testing::FakeDisk::with_logical_block(ByteCount(4 << 20), 512);
  std::string bytes;
  Entries entries;

  GoodVolume() {
    REMAPFS_INVARIANT(
        store::create_volume(testing::simulated_spec(path, ByteCount(1 << 20), 4096), *spare).has_value());
    const auto made = testing::add_entries(path, *spare, 40, [](std::uint64_t i) {
      RemapRow row;
      row.block = BlockIndex(i * 3);
      row.state = i % 5 == 0 ? EntryState::lost : EntryState::remapped;
      row.where = {1, SlotIndex(i)};
      row.valid_mask = i % 5 == 0 ? 0x0F : 0xFF;
      row.written_mask = 0xFF;
      row.cause = Cause::write_error;
      row.error_count = 1;
      return row;
    });
    REMAPFS_INVARIANT(made.has_value());
    std::ifstream file(path, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(file), {});
    const auto loaded = load();
    REMAPFS_INVARIANT(loaded.has_value());
    entries = *loaded;
  }

  Result<Entries> load() {
    auto opened = store::SqliteMapStore::open(path, {.read_only = true, .degraded = false});
    if (!opened) return fail(opened.error());
    if (auto attached = (*opened)->attach_spare(1, *spare); !attached) return fail(attached.error());
    Entries found;
    auto loaded = (*opened)->load([&](std::span<const RemapRow> rows) -> Result<void> {
      for (const RemapRow& row : rows) found[row.block.value()] = row.mapping();
      return {};
    });
    if (!loaded) return fail(loaded.error());
    return found;
  }
};

bool same(const Mapping& a, const Mapping& b) {
  return a.state == b.state && a.valid_mask == b.valid_mask && (a.state != EntryState::remapped || a.where == b.where);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static GoodVolume volume;
  std::string bytes = volume.bytes;
  fuzz::Input input(data, size);
  // The length first: mostly as it is.
  const std::uint64_t length = input.number(2);
  if (length % 8 == 7) bytes.resize(bytes.size() * (length / 8) / 8192);
  while (!input.empty() && !bytes.empty()) {
    const std::uint64_t place = input.number(3) % bytes.size();
    bytes[place] = static_cast<char>(input.number(1));
  }
  std::ofstream(volume.path, std::ios::binary | std::ios::trunc) << bytes;

  if (const auto found = volume.load()) {
    REMAPFS_INVARIANT(found->size() == volume.entries.size());
    for (const auto& [block, mapping] : *found) REMAPFS_INVARIANT(same(mapping, volume.entries.at(block)));
  }
  static_cast<void>(store::check_map(volume.path, {{1, volume.spare.get()}}));
  return 0;
}
