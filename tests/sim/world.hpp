// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "support/random.hpp"

namespace remapfs::sim {

using testing::Random;

// How a life of the program ends.
enum class Cut : std::uint8_t {
  power,  // what no sync covered may be lost, sector by sector, on all devices and files
  kill,   // as after kill -9: nothing is lost, and writes that were on their way may still arrive
};

// What all simulated devices and files share: one order of everything that changes, in which the end can come anywhere.
//
// Threads: those of one Scheduler, or one.
class World {
 public:
  explicit World(std::uint64_t seed) : random_(seed) {}

  // How an operation goes that asked step().
  enum class Fate : std::uint8_t {
    happens,
    unheard,  // it takes effect, but nobody is told: the end came meanwhile
    nothing,  // it has no effect, and fails
  };
  // Before an operation takes effect; takes time, lets other threads go first. changes: a write or sync.
  Fate step(bool changes);

  // The end comes at the n-th change from now; 1 is the next.
  void cut_after(std::uint64_t n, Cut how);
  // Now.
  void cut(Cut how);
  [[nodiscard]] bool ended() const { return ended_; }
  // Something happens before the n-th operation from now, of any kind; once. 0: nothing will.
  void happens_after(std::uint64_t n, std::function<void()> what = {}) {
    until_event_ = n;
    event_ = std::move(what);
  }
  // Called at the end, before anything else goes on. Threads that are not done then still come to theirs, with errors:
  // what they leave in memory would not be there.
  void at_end(std::function<void()> look) { at_end_ = std::move(look); }
  [[nodiscard]] Cut how() const { return how_; }
  // A write that was on its way when the program was killed: arrives before its successor begins.
  void arrives_late(std::function<void()> write) { late_.push_back(std::move(write)); }
  // A new life may begin: what comes late comes now. No thread of the old one may be left.
  void begin_again();
  // Without an end that was planned and did not come.
  void call_off() { until_cut_ = 0; }

  // Whether a write that meets the end arrives late, if the program alone ends.
  [[nodiscard]] bool late_write() { return how_ == Cut::kill && random_.one_in(2); }
  [[nodiscard]] Random& random() { return random_; }
  [[nodiscard]] std::uint64_t changes() const { return changes_; }
  // Operations take this many times as long.
  void set_slowness(std::uint64_t factor) { slowness_ = factor; }

 private:
  void end();

  Random random_;
  bool ended_ = false;
  std::function<void()> at_end_;
  Cut how_ = Cut::power;
  std::uint64_t until_cut_ = 0;
  std::uint64_t until_event_ = 0;
  std::function<void()> event_;
  std::uint64_t changes_ = 0;
  std::uint64_t slowness_ = 1;
  std::vector<std::function<void()>> late_;
};

}  // namespace remapfs::sim
