// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "volume/impl.hpp"

namespace remapfs {

// What a sync said, remembered by the device already, for those who look at the volume.
Result<void> Volume::Impl::after_sync(Member& member, const Result<void>& synced) {
  if (synced) return {};
  if (synced.error().code != Errc::failed) sync_failed_on(member, synced.error());
  if (synced.error().code == Errc::device_gone) open_breaker(member, synced.error());
  return fail(Errc::failed);
}

Result<void> Volume::Impl::flush_member(Member& member) {
  if (member.missing()) return {};
  if (member.breaker_open()) return fail(Errc::suspended);
  bool lost = false;
  auto flushed = member.device().flush(lost);
  if (!lost) return after_sync(member, flushed);
  tell({"writes-lost", std::nullopt,
        fmt::format("{} vanished with acknowledged writes that no flush covered", member.device().name())});
  return flushed;
}

Result<void> Volume::Impl::flush() {
  return retry_after_resume(false, [&](const Deadline&) {
    // All of them are synced whatever becomes of one. What failed will not be said again: it outranks what may wait.
    Result<void> answer = flush_member(*share(0));
    for_each_spare([&](Member& spare) {
      auto flushed = flush_member(spare);
      if (!flushed && (answer || answer.error().code == Errc::suspended)) answer = std::move(flushed);
    });
    return answer;
  });
}

// Lets a device whose breaker is open answer again, as it is or opened anew; reopened is set in any case.
Result<void> Volume::Impl::bring_back(Member& member, std::span<std::byte> aside, bool& reopened) {
  Probe probe = probe_reads(member, {}, aside);
  if (probe != Probe::works) {
    if (auto opened = member.device().reopen(); !opened) {
      return fail(opened.error().code, fmt::format("resume: {}: still does not answer: {}", member.device().name(),
                                                   describe(opened.error())));
    }
    reopened = true;
    probe = probe_reads(member, {}, aside);
  }
  if (probe != Probe::broken) return {};
  return fail(Errc::media, fmt::format("resume: {}: still fails everywhere: replace the device or its cable",
                                       member.device().name()));
}

Result<Outcome> Volume::Impl::resume() {
  bool was_bad = false;
  Result<void> answer;
  {
    const auto scratch = scratches->take();
    // reopen() wants no transfer in flight.
    auto hold = gate.exclude(whole_disk(), Deadline(options.request_budget));
    if (!hold) return fail(Errc::busy, "resume: requests are still waiting for a device, try again");
    struct Returning {
      Member* member;
      bool reopened = false;
      bool works = false;
    };
    std::vector<Returning> returning;
    for_each_member([&](Member& member) {
      if (member.missing() || !member.breaker_open()) return;
      Returning one{&member};
      const auto back = bring_back(member, scratch.aside(), one.reopened);
      one.works = back.has_value();
      if (!back) answer = fail(back.error());
      returning.push_back(one);
    });
    was_bad = !returning.empty();
    for_each_member([&](Member& member) {
      if (member.missing()) return;
      // Members on one descriptor vanish together: what one had not stored yet is gone, whether or not it has noticed.
      bool after_loss = false;
      for (const Returning& one : returning) {
        if (one.member == &member || !one.member->device().shares_descriptor_with(member.device())) continue;
        after_loss = true;
        // It is open again already: this one only hears of it.
        if (one.reopened) static_cast<void>(member.device().reopen());
      }
      const auto mine =
          std::find_if(returning.begin(), returning.end(), [&](const Returning& one) { return one.member == &member; });
      if (mine != returning.end() && !mine->works) return;
      const bool had_failed = member.trust_again(after_loss);
      was_bad = was_bad || had_failed;
      // It may have other bytes now than whoever copied it has seen.
      DirtyMap* const copied = copied_from.load(std::memory_order_acquire);
      if (member.is_primary() && copied != nullptr) copied->mark({ByteOffset(0), ByteOffset(size.value())});
    });
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
