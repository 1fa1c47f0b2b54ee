// SPDX-License-Identifier: Apache-2.0
#include "sim/life.hpp"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

#include "sim/apart.hpp"
#include "sim/circumstances.hpp"
#include "sim/clients.hpp"
#include "sim/members.hpp"

namespace remapfs::sim {
namespace {

class Life {
 public:
  Life(const Script& script, bool with_trace) : script_(script), now_(script.seed, with_trace) {
    if (!with_trace) return;
    plant_.on_event = [this](const Event& event) {
      const std::string block = event.block ? fmt::format(" of block {}", event.block->value()) : "";
      now_.trace(fmt::format("      {}{}: {}", event.kind, block, event.detail));
    };
  }

  Outcome live() {
    mount();
    for (std::size_t i = 0; i < script_.steps.size() && !now_.outcome.failure; ++i) {
      now_.outcome.failed_step = i;
      now_.trace(to_string(script_.steps[i]));
      take(script_.steps[i]);
    }
    if (!now_.outcome.failure) look_back();
    count_relocations();
    now_.outcome.proven = plant_.proven;
    return std::move(now_.outcome);
  }

 private:
  // --- Mounting, and what ends it ---

  void count_relocations() {
    if (plant_.volume) now_.outcome.relocations += plant_.volume->status().relocations;
  }

  // Mounts, as often as the end comes meanwhile.
  void mount() {
    now_.disturbed = false;
    auto mounted = plant_.try_mount();
    for (; world_.ended(); mounted = plant_.try_mount()) leave_behind();
    if (plant_.observed.wrong) return now_.broken(*plant_.observed.wrong);
    if (!mounted) return now_.broken("the volume cannot be mounted: " + describe(mounted.error()));
    now_.troubles.follow_members();
    to_be_told_ = false;
    take_over();
  }

  // What is still so for the process that goes on, and forgotten where somebody mounts it anew.
  void take_over() {
    const Plant::Inherited& inherited = plant_.inherited();
    if (!inherited.is_there) {
      now_.flush_may_fail = now_.flush_failed = false;
      return;
    }
    now_.trace("  another process goes on");
    ++now_.outcome.taken_over;
    now_.flush_may_fail = now_.flush_may_fail || inherited.loss;
    now_.sync_failed = inherited.sync_failed;
    now_.disturbed = inherited.sync_failed || inherited.breaker_open;
  }

  // What the end leaves behind.
  void leave_behind() {
    ++now_.outcome.cuts;
    count_relocations();
    const Cut how = world_.how();
    plant_.leave_behind();
    // A sync may have failed that nobody was told of; who goes on tells it, if it was over.
    const Plant::Inherited& inherited = plant_.inherited();
    const bool will_be_told = inherited.is_there && !inherited.syncing && !now_.map_failed;
    // Also what a process was to tell that ended before it had begun to serve.
    const bool something = now_.disturbed || to_be_told_;
    if (something && !will_be_told) oracle_.doubt();
    to_be_told_ = something && will_be_told;
    now_.sync_failed = now_.map_failed = false;
    if (auto wrong = plant_.check_spares_alone(/*after_close=*/false)) now_.broken(*wrong);
    if (how == Cut::power) {
      oracle_.lose_power();
      settle_ = true;
    }
    // Recovery may be cut as well.
    if (world_.random().one_in(4)) world_.cut_after(world_.random().between(1, 40), how);
  }

  void begin_again() {
    now_.trace(world_.how() == Cut::power ? "  power is lost" : "  the program is killed");
    leave_behind();
    mount();
    look_after_the_end();
  }

  void look_after_the_end() {
    world_.call_off();
    if (!now_.outcome.failure) clients_.look_at_everything(settle_);
    settle_ = false;
  }

  void look_back() {
    world_.call_off();
    now_.troubles.end();
    remount();
    if (!now_.outcome.failure) clients_.look_at_everything(settle_);
  }

  void remount() {
    if (plant_.volume) {
      count_relocations();
      const auto begun = oracle_.now();
      const auto closed = plant_.volume->close();
      if (world_.ended()) return begin_again();
      if (closed) {
        oracle_.flushed(begun);
      } else {
        oracle_.doubt();
        if (!now_.disturbed && !now_.flush_may_fail) now_.broken("close failed: " + describe(closed.error()));
      }
      plant_.leave_in_order();
      if (closed && !now_.disturbed) look_at_the_map();
    }
    if (now_.sync_failed) oracle_.doubt();
    now_.sync_failed = now_.map_failed = false;
    plant_.call_off_failures();
    mount_or_begin_again();
  }

  // Closed in order: map and spare agree in everything, and a map of an earlier life is not taken for this one.
  void look_at_the_map() {
    if (!now_.troubles.ever_on_spare()) {
      if (auto wrong = plant_.check()) now_.broken(*wrong);
      if (auto wrong = plant_.check_spares_alone(/*after_close=*/true)) now_.broken(*wrong);
    }
    if (auto wrong = plant_.try_earlier_map()) now_.broken(*wrong);
  }

  void mount_or_begin_again() {
    const std::uint64_t cuts = now_.outcome.cuts;
    mount();
    if (now_.outcome.cuts != cuts) look_after_the_end();
  }

  // --- Steps ---

  void take(const Step& step) {
    Random random(step.seed);
    if (now_.disturbed && random.one_in(3)) remount();
    if (now_.outcome.failure) return;
    switch (step.kind) {
      case Step::Kind::requests: clients_.run(random); break;
      case Step::Kind::members: change_members(random); break;
      case Step::Kind::primary_fault: now_.trace(now_.troubles.fail_primary(random)); break;
      case Step::Kind::primary_healed: now_.troubles.heal_primary(random); break;
      case Step::Kind::spare_fault: now_.troubles.toggle_spare(random); break;
      case Step::Kind::sync_failure: fail_sync(random); break;
      case Step::Kind::map_failure: fail_map(random); break;
      case Step::Kind::vanish: vanish(random); break;
      case Step::Kind::slow: slow_down(random); break;
      case Step::Kind::remount: remount(); break;
      case Step::Kind::cut: arm(random); break;
    }
    if (world_.ended()) begin_again();
  }

  void change_members(Random& random) {
    if (random.one_in(3)) arm(random);
    clients_.run(random, [this, mine = random.fork()]() mutable { members_.change(mine); });
  }

  void arm(Random& random) {
    const std::uint64_t scale = std::uint64_t{1} << random.between(1, 8);
    world_.cut_after(random.between(1, scale + 1), random.one_in(4) ? Cut::kill : Cut::power);
  }

  void slow_down(Random& random) {
    now_.slow = random.one_in(2);
    world_.set_slowness(now_.slow ? 20'000 : 1);
  }

  void fail_sync(Random& random) {
    plant_.any_member(random).fail_syncs(1);
    now_.sync_failed = now_.disturbed = true;
  }

  void fail_map(Random& random) {
    plant_.files->fail_nth(SimFiles::What::change, random.between(1, 12));
    now_.map_failed = now_.disturbed = true;
    if (random.one_in(2)) return;
    // Blocks move while that happens, and are written: where they are then nobody may guess, before or after a remount.
    for (int i = 0; i < 4 && !world_.ended(); ++i) {
      const BlockIndex block(clients_.random_block(random));
      clients_.add(block);
      if (!world_.ended()) clients_.write_block(random, block);
    }
    if (!world_.ended()) remount();
  }

  void vanish(Random& random) {
    testing::FakeDisk& disk = plant_.any_member(random);
    now_.disturbed = true;
    // Now, or in the middle of something.
    const bool in_the_middle = random.one_in(3);
    world_.happens_after(in_the_middle ? random.between(2, 60) : 1,
                         [&disk] { disk.set_outage(testing::Outage::gone); });
    if (in_the_middle && random.one_in(2)) {
      // Of a commit, if of anything.
      for (int i = 0; i < 6 && !world_.ended(); ++i) clients_.add(BlockIndex(clients_.random_block(random)));
    } else if (random.one_in(4)) {
      clients_.run(random, [this, mine = random.fork()]() mutable { members_.change(mine); });
    } else {
      clients_.run(random);
    }
    world_.happens_after(0);
    if (world_.ended()) {
      disk.set_outage(testing::Outage::none);
      return;
    }
    std::vector<std::optional<Oracle::Content>> acknowledged;
    if (random.one_in(2)) {
      acknowledged = healthy_contents();
      disk.crash(random());
      oracle_.lose_power();
      now_.trace("  it forgets what it had not stored");
    }
    disk.set_outage(testing::Outage::none);
    // A device that nobody asked anything while it was away has not been away.
    const bool noticed = plant_.volume->status().state == VolumeState::suspended;
    const auto resumed = plant_.volume->resume();
    if (world_.ended()) return;
    now_.flush_may_fail = true;
    if (!resumed) return now_.trace("  resume: " + describe(resumed.error()));
    now_.disturbed = now_.sync_failed || now_.map_failed || plant_.volume->status().state <= VolumeState::suspended;
    if (!now_.disturbed && noticed) tell_of_loss(acknowledged);
  }

  // Of the sectors that always work: what they must hold, where that is certain.
  [[nodiscard]] std::vector<std::optional<Oracle::Content>> healthy_contents() const {
    std::vector<std::optional<Oracle::Content>> contents(now_.shape.sectors());
    for (std::uint64_t s = now_.shape.sectors_that_may_fail(); s < now_.shape.sectors(); ++s) {
      const Oracle::Content* const certain = oracle_.certain(s);
      if (certain != nullptr && !oracle_.in_doubt(s)) contents[s] = *certain;
    }
    return contents;
  }

  // A device that came back without what was acknowledged, and never flushed, is told of by a flush.
  void tell_of_loss(const std::vector<std::optional<Oracle::Content>>& acknowledged) {
    bool lost = false;
    clients_.set_looking(true);
    for (std::uint64_t s = 0; s < acknowledged.size() && !now_.outcome.failure; ++s) {
      alignas(kSectorSize) std::array<std::byte, kSectorSize> data;
      if (acknowledged[s] && clients_.read(s * kSectorSize, data)) lost = lost || data != *acknowledged[s];
    }
    clients_.set_looking(false);
    if (!lost || world_.ended()) return;
    const auto flushed = plant_.volume->flush();
    now_.flush_failed = !flushed;
    if (flushed && !world_.ended())
      now_.broken("acknowledged writes were lost with a device, and the next flush succeeded");
    if (flushed || world_.ended()) return;
    oracle_.doubt();
    now_.flush_may_fail = false;
  }

  const Script& script_;
  Circumstances now_;
  Plant& plant_ = now_.plant;
  World& world_ = now_.world;
  Oracle& oracle_ = now_.oracle;
  Clients clients_{now_};
  Members members_{now_};
  bool settle_ = false;      // power was lost, and not every sector looked at since
  bool to_be_told_ = false;  // the process that goes on is to tell of a failed sync
};

constexpr std::array kCounts{&Outcome::cuts,   &Outcome::requests, &Outcome::relocations, &Outcome::proven,
                             &Outcome::joined, &Outcome::retired,  &Outcome::replaced,    &Outcome::taken_over};

// An outcome as text, and back: counts in the first line, then the failure, then the trace.
std::string encode(const Outcome& outcome) {
  std::string text = fmt::format("{} {}", outcome.failure ? 1 : 0, outcome.failed_step);
  for (const auto count : kCounts) text += fmt::format(" {}", outcome.*count);
  text += fmt::format("\n{}\n", outcome.failure.value_or(""));
  for (const std::string& line : outcome.trace) text += line + '\n';
  return text;
}

Outcome decode(const std::string& text) {
  std::istringstream in(text);
  Outcome outcome;
  bool failed = false;
  std::string line;
  in >> failed >> outcome.failed_step;
  for (const auto count : kCounts) in >> outcome.*count;
  std::getline(in, line);
  std::getline(in, line);
  if (failed) outcome.failure = line;
  while (std::getline(in, line)) outcome.trace.push_back(line);
  return outcome;
}

}  // namespace

Outcome live(const Script& script, bool with_trace) {
  const auto text = run_apart([&] { return encode(Life(script, with_trace).live()); });
  if (text) return decode(*text);
  Outcome outcome;
  outcome.failure = text.error();
  outcome.failed_step = script.steps.size() - 1;
  return outcome;
}

}  // namespace remapfs::sim
