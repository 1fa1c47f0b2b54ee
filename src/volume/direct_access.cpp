// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "volume/impl.hpp"

// The fast road for engines that do the transfers themselves.

namespace remapfs {

bool Volume::Impl::plan(DirectAccess& access) {
  access.count = 0;
  return table->for_each_run(access.range, [&](const Run& run) {
    if (run.kind == RunKind::attention || access.count == DirectAccess::kMostParts) return false;
    const SpareId id = run.kind == RunKind::slot ? run.first_slot.spare : SpareId{0};
    const Member& target = *member(id);
    if (target.missing() || target.breaker_open() || !target.device().ready_for(access.write)) return false;
    DirectAccess::Part& part = access.parts[access.count++];
    part.device = &target.device();
    part.member = id;
    part.descriptor = part.device->native_handle();
    part.at = place_of(run);
    part.native = part.device->native_begin() + part.at.value();
    part.range = run.range;
    part.done = false;
    part.error.reset();
    return true;
  });
}

bool Volume::begin(DirectAccess& access, ByteRange range, const std::byte* memory, bool write) {
  Impl& impl = *impl_;
  if (write && impl.options.read_only) return false;
  if (range.empty() || range.end.value() > impl.size.value()) return false;
  if (!is_aligned(range.end.value(), impl.io_alignment) || !impl.io_aligned(range, memory)) return false;
  auto pass = impl.gate.try_enter(impl.geometry.blocks_touching(range));
  if (!pass) return false;
  access.write = write;
  access.range = range;
  if (!impl.plan(access)) return false;
  access.generation = impl.generation.load(std::memory_order_acquire);
  access.stay = pass->detach();
  auto& counters = impl.my_counters();
  (write ? counters.writes : counters.reads).fetch_add(1, std::memory_order_relaxed);
  return true;
}

bool Volume::end(DirectAccess& access) {
  const auto pass = BlockGate::Pass::attach(std::exchange(access.stay, nullptr));
  bool served = true;
  for (const DirectAccess::Part& part : access.all()) {
    served = served && part.done;
    if (access.write) part.device->note_change({part.at, part.at + part.range.size().value()});
    if (part.done) impl_->note_success(*impl_->member(part.member), part.at, access.write);
    if (part.error) {
      part.device->note_failure(access.write ? DeviceAccess::write : DeviceAccess::read, part.error->code);
    }
  }
  return served;
}

Result<void> Volume::recover(DirectAccess& access, std::byte* memory) {
  REMAPFS_INVARIANT(access.stay == nullptr);
  auto done = impl_->retry_after_resume(
      access.write, [&](Deadline& deadline) { return impl_->recover_parts(access, memory, deadline); });
  if (done) return {};
  auto& counters = impl_->my_counters();
  (access.write ? counters.write_errors : counters.read_errors).fetch_add(1, std::memory_order_relaxed);
  return done;
}

Result<void> Volume::Impl::recover_parts(DirectAccess& access, std::byte* memory, Deadline& deadline) {
  const std::uint64_t now = generation.load(std::memory_order_acquire);
  if (access.write && access.generation != now) {
    // What was written before may have vanished with the device, and somebody else's flush may have been told.
    for (DirectAccess::Part& part : access.all()) {
      part.done = false;
      part.error.reset();
    }
    access.generation = now;
  }
  WriteTries tries(options.request_budget);
  std::optional<Error> first_error;
  for (DirectAccess::Part& part : access.all()) {
    if (part.done) continue;
    auto done = recover_part(access, part, memory, deadline, tries);
    part.done = done.has_value();
    if (done) continue;
    if (!first_error) first_error = std::move(done).error();
    // The rest is still read after a lost sector, so that one request finds all that is lost in it.
    if (first_error->code != Errc::lost || access.write) break;
  }
  if (first_error) return fail(std::move(*first_error));
  return {};
}

Result<void> Volume::Impl::recover_part(const DirectAccess& access, DirectAccess::Part& part, std::byte* memory,
                                        Deadline& deadline, WriteTries& tries) {
  std::byte* const place = memory + distance(access.range.begin, part.range.begin).value();
  if (part.error && is_media_error(*part.error)) {
    // Once: whoever comes back from waiting for a resume starts over.
    const FailedAccess failed{member(part.member), part.at};
    part.error.reset();
    if (!access.write) return slow_read(part.range, place, deadline, failed);
    const auto reached = slow_write(part.range, place, tries, failed);
    if (!reached) return fail(reached.error());
    const ByteRange rest{*reached, part.range.end};
    if (rest.empty()) return {};
    return write_request(rest, place + distance(part.range.begin, rest.begin).value(), tries);
  }
  return access.write ? write_request(part.range, place, tries) : read_request(part.range, place, deadline);
}

bool Volume::waits_for_devices() const { return !impl_->share(0)->device().geometry().in_memory; }

bool Volume::has_direct_access() const {
  bool all = true;
  impl_->for_each_member([&](const Member& one) {
    if (one.missing()) return;
    all = all && one.device().geometry().direct && one.device().native_handle() >= 0;
  });
  return all;
}

}  // namespace remapfs
