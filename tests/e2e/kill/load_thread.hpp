// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "e2e/kill/region_history.hpp"
#include "remapfs/aligned_buffer.hpp"
#include "support/random.hpp"

namespace remapfs::testing {

// At the start of each region, and touched more than the rest: blocks there are remapped and then written again.
inline constexpr std::uint64_t kHotSectors = 512;

// What a load or a verification came across.
struct Account {
  std::vector<std::string> complaints;  // promises broken; the first few of them
  std::uint64_t writes = 0;             // acknowledged
  std::uint64_t flushes = 0;            // succeeded
  std::uint64_t interrupted = 0;        // changes the daemon's death cut off
  std::uint64_t read_errors = 0;        // requests that failed where they may

  void complain(std::string text) {
    if (complaints.size() < 10) complaints.push_back(std::move(text));
  }
  Account& operator+=(const Account& other);
};

// Reads every sector of a region and judges it. Threads: any, one a region.
void verify_region(const std::string& disk, RegionHistory& history, Account& account);

// Writes, zeroes, flushes and reads a region of a disk, directly and buffered, until the disk dies.
class LoadThread {
 public:
  // dying: true from just before the daemon is killed; a request cut off before that is a complaint.
  LoadThread(const std::string& disk, RegionHistory& history, Random random, const std::atomic<bool>& dying);
  // After the disk has died.
  Account join();

 private:
  void work(const std::string& disk);
  // False when the disk has died.
  bool change(int fd);
  bool flush(int fd);
  bool read(int fd);
  [[nodiscard]] SectorRange some_range();
  // What became of a request: false when it was cut off.
  bool survived(int error, const std::string& what);

  RegionHistory& history_;
  Random random_;
  const std::atomic<bool>& dying_;
  AlignedBuffer buffer_;
  Account account_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace remapfs::testing
