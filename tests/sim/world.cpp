// SPDX-License-Identifier: Apache-2.0
#include "sim/world.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "sim/scheduler.hpp"

namespace remapfs::sim {

World::Fate World::step(bool changes) {
  if (ended_) return Fate::nothing;
  SimulatedTime::advance(std::chrono::microseconds(random_.between(10, 200) * slowness_));
  pause_here();
  if (until_event_ > 0 && --until_event_ == 0) event_();
  // The end came while this was on its way.
  if (ended_) return random_.one_in(2) ? Fate::unheard : Fate::nothing;
  if (!changes) return Fate::happens;
  ++changes_;
  if (until_cut_ == 0 || --until_cut_ > 0) return Fate::happens;
  end();
  return random_.one_in(2) ? Fate::unheard : Fate::nothing;
}

void World::cut_after(std::uint64_t n, Cut how) {
  until_cut_ = n;
  how_ = how;
}

void World::cut(Cut how) {
  how_ = how;
  end();
}

void World::end() {
  ended_ = true;
  if (at_end_) at_end_();
}

void World::begin_again() {
  auto late = std::exchange(late_, {});
  for (std::size_t left = late.size(); left > 0; --left) {
    std::swap(late[random_.below(left)], late[left - 1]);
    late[left - 1]();
  }
  ended_ = false;
  until_cut_ = 0;
}

}  // namespace remapfs::sim
