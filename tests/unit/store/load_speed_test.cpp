// SPDX-License-Identifier: Apache-2.0
#include <malloc.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <string>

#include "unit/store/store_fixture.hpp"

// How long a load takes, and what memory. REMAPFS_LOAD_ROWS sets the number of rows; ten million are to take less
// than 8 s and 1 GiB.

namespace remapfs::store {
namespace {

class LoadSpeed : public StoreTest {};

// A line of /proc/self/status in MiB.
std::uint64_t memory_mib(const std::string& name) {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with(name)) return std::strtoull(line.c_str() + name.size(), nullptr, 10) / 1024;
  }
  return 0;
}

void forget_peak_of_memory() { std::ofstream("/proc/self/clear_refs") << "5"; }

TEST_F(LoadSpeed, MillionsOfRowsLoadInSeconds) {
  const char* wanted = std::getenv("REMAPFS_LOAD_ROWS");
  const std::uint64_t count = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 1'000'000;
  create(512, count * 3, 512, count * 700);
  ASSERT_GE(layout().slots, count);
  open();
  const auto start_commit = std::chrono::steady_clock::now();
  MapTransaction transaction;
  for (std::uint64_t i = 0; i < count; ++i) {
    transaction.changes.push_back(put_remapped(i * 3, i));
    if (transaction.changes.size() == 50'000 || i + 1 == count) {
      ASSERT_NO_FATAL_FAILURE(commit(transaction));
      transaction.changes.clear();
    }
  }
  const std::chrono::duration<double> committed = std::chrono::steady_clock::now() - start_commit;
  transaction = {};
  for (const bool orderly : {true, false}) {
    orderly ? close() : kill();
    ::malloc_trim(0);  // what the commits have left would hide what the load takes
    forget_peak_of_memory();
    const std::uint64_t before = memory_mib("VmRSS:");
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t cpu_start = std::clock();
    auto store = SqliteMapStore::open(map_path(), {});
    ASSERT_OK(store);
    ASSERT_OK((*store)->attach_spare(1, spare()));
    std::uint64_t rows = 0;
    ASSERT_OK((*store)->load([&](std::span<const RemapRow> loaded) -> Result<void> {
      rows += loaded.size();
      return {};
    }));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    const double cpu = static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC;
    EXPECT_EQ(rows, count);
    std::printf(
        "%llu rows: committed in %.2f s, loaded %s in %.2f s (%.2f s of CPU) with up to %llu MiB more than the %llu "
        "before\n",
        static_cast<unsigned long long>(count), committed.count(), orderly ? "after an orderly close" : "after a kill",
        took.count(), cpu, static_cast<unsigned long long>(memory_mib("VmHWM:") - before),
        static_cast<unsigned long long>(before));
    // CPU time, since the machine may have other things to do; sanitizers multiply it.
    EXPECT_LT(cpu, 30 + 2e-6 * static_cast<double>(count));
    store_ = std::move(*store);
  }
}

}  // namespace
}  // namespace remapfs::store
