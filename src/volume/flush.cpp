// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <bitset>
#include <limits>

#include "volume/impl.hpp"

namespace remapfs {

// What a sync said, remembered by the device already, for those who look at the volume.
Result<void> Volume::Impl::after_sync(Member& member, const Result<void>& synced, std::span<std::byte> aside) {
  if (synced) return {};
  // First the breaker: whoever hears of the failure asks for it.
  static_cast<void>(is_broken(member, synced.error(), aside));
  if (synced.error().code != Errc::failed) sync_failed_on(member, synced.error());
  return fail(Errc::failed);
}

// telling: gets the member if it has lost writes, which this flush tells.
Result<void> Volume::Impl::flush_member(const std::shared_ptr<Member>& member,
                                        std::vector<std::shared_ptr<Member>>& telling) {
  if (member->missing()) return {};
  if (member->breaker_open()) return fail(Errc::suspended);
  bool lost = false;
  auto flushed = member->device().flush(lost);
  if (!lost && flushed) return {};
  if (!lost) return after_sync(*member, flushed, scratches->take(0).aside());
  telling.push_back(member);
  tell({"writes-lost", std::nullopt,
        fmt::format("{} may have lost acknowledged writes that no flush covered", member->device().name())});
  return flushed;
}

Result<void> Volume::Impl::flush() {
  std::vector<std::shared_ptr<Member>> telling;
  auto answer = retry_after_resume(false, [&](const Deadline&) {
    // All of them are synced whatever becomes of one. What failed will not be said again: it outranks what may wait.
    Result<void> worst;
    const unsigned last = highest_member.load(std::memory_order_acquire);
    for (unsigned id = 0; id <= last; ++id) {
      const auto member = share(static_cast<SpareId>(id));
      if (!member) continue;
      auto flushed = flush_member(member, telling);
      if (!flushed && (worst || worst.error().code == Errc::suspended)) worst = std::move(flushed);
    }
    return worst;
  });
  for (const auto& member : telling) member->device().told_loss();
  return answer;
}

Result<Outcome> Volume::Impl::resume() {
  const MutexLock alone(resuming);
  bool was_bad = false;
  Result<void> answer;
  {
    const auto scratch = scratches->take(0);
    // With nobody kept waiting: a device may take its time to say that it does not answer.
    std::bitset<std::numeric_limits<SpareId>::max() + 1> answers;
    for_each_member([&](Member& member) {
      if (member.missing() || !member.breaker_open()) return;
      answers[member.id()] = probe_reads(member, {}, scratch.aside()) == Probe::works;
    });
    // reopen() wants no transfer in flight.
    auto hold = gate.exclude(whole_disk(), Deadline(options.request_budget));
    if (!hold) return fail(Errc::busy, "resume: requests are still waiting for a device, try again");
    // Before any of them is trusted: members may have vanished together.
    for_each_member([](Member& member) {
      if (!member.missing() && member.breaker_open()) member.device().note_loss();
    });
    const Member* reopened = nullptr;
    for_each_member([&](Member& member) {
      if (member.missing()) return;
      if (member.breaker_open()) {
        was_bad = true;
        Probe probe = answers[member.id()] ? Probe::works : Probe::broken;
        // Another one's descriptor may be this one's.
        const bool opened = reopened != nullptr && reopened->device().shares_descriptor_with(member.device());
        if (opened) probe = probe_reads(member, {}, scratch.aside());
        if (probe != Probe::works) {
          if (auto back = member.device().reopen(); !back) {
            answer = fail(back.error().code, fmt::format("resume: {}: still does not answer: {}",
                                                         member.device().name(), describe(back.error())));
            return;
          }
          reopened = &member;
          probe = probe_reads(member, {}, scratch.aside());
        }
        if (probe == Probe::broken) {
          answer = fail(Errc::media, fmt::format("resume: {}: still fails everywhere: replace the device or its cable",
                                                 member.device().name()));
          return;
        }
      }
      const bool had_failed = member.trust_again();
      was_bad = was_bad || had_failed;
      // It may have other bytes now than whoever copied it has seen.
      DirtyMap* const copied = copied_from.load(std::memory_order_acquire);
      if (member.is_primary() && copied != nullptr) copied->mark({ByteOffset(0), ByteOffset(size.value())});
    });
    if (has_unfinished()) {
      was_bad = true;
      auto finished = finish_commits(scratch.aside());
      if (answer) answer = std::move(finished);
    }
    generation.fetch_add(1, std::memory_order_release);
  }
  {
    MutexLock lock(resume_mutex);
    ++resumes;
  }
  resumed.notify_all();
  if (!answer) return fail(std::move(answer).error());
  if (was_bad) static_cast<void>(record({"resumed", std::nullopt, ""}));
  return was_bad ? Outcome::done : Outcome::already;
}

}  // namespace remapfs
