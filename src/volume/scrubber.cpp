// SPDX-License-Identifier: Apache-2.0
#include "volume/scrubber.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <system_error>
#include <utility>

#include "core/utc.hpp"
#include "volume/scrub_pace.hpp"

namespace remapfs {
namespace {

// How often a device that does not work is asked again.
constexpr std::chrono::seconds kDevicePause{1};
// As SQLite has numbers.
constexpr std::uint64_t kHighestRate = std::numeric_limits<std::int64_t>::max();

bool waits_for_a_device(const Error& error) { return error.code == Errc::suspended || error.code == Errc::device_gone; }

}  // namespace

std::string in_words(const ScrubFindings& found) {
  return fmt::format("{} weak blocks moved, {} not moved; {} sectors lost; {} blocks not read", found.moved_blocks,
                     found.weak_blocks, found.lost_sectors, found.unread_blocks);
}

Scrubber::Scrubber(Volume& volume, bool go_on, std::chrono::milliseconds save_after)
    : volume_(volume),
      total_(volume.block_geometry().blocks_in(volume.size())),
      save_after_(save_after),
      record_(volume.info().scrub),
      saved_at_(Clock::now()) {
  const MutexLock lock(mutex_);
  record_.next = std::min(record_.next, BlockIndex(total_));
  if (!runs()) return;
  if (!go_on) {
    record_.state = ScrubState::paused;
  } else if (auto thread = need_thread(); !thread) {
    record_.state = ScrubState::paused;
    trouble_ = describe(thread.error());
  }
}

Scrubber::~Scrubber() {
  bool unsaved = false;
  {
    const MutexLock lock(mutex_);
    leaving_ = true;
    unsaved = runs() || unsaved_;
  }
  changed_.notify_all();
  // Nobody else is here any more: the thread is ours to wait for.
  [this]() NO_THREAD_SAFETY_ANALYSIS {
    if (thread_.joinable()) thread_.join();
  }();
  // What cannot be saved is looked at again.
  if (unsaved) static_cast<void>(save());
}

Result<Outcome> Scrubber::apply(const ScrubRequest& request) {
  switch (request.action) {
    case ScrubAction::start: return begin(request, true);
    case ScrubAction::resume: return begin(request, false);
    case ScrubAction::pause: return end(ScrubState::paused);
    case ScrubAction::stop: return end(ScrubState::stopped);
    case ScrubAction::status: return Outcome::already;
  }
  return fail(Errc::invalid, "scrub: unknown action");
}

Result<Outcome> Scrubber::begin(const ScrubRequest& request, bool anew) {
  if (volume_.read_only()) return fail(Errc::read_only, "the volume is read-only, a scrub, mount it for writing");
  if (request.rate && *request.rate > kHighestRate) {
    return fail(Errc::invalid, fmt::format("not a rate, {}, use at most {}", *request.rate, kHighestRate));
  }
  Outcome outcome = Outcome::done;
  {
    const MutexLock lock(mutex_);
    if (auto thread = need_thread(); !thread) return fail(std::move(thread.error()));
    if (runs()) {
      outcome = Outcome::already;
    } else if (anew || record_.state != ScrubState::paused) {
      record_ = ScrubRecord{ScrubState::running, BlockIndex(0), 0, {}, utc_now(), {}};
      ++run_;
      unsaved_event_ = Event{"scrub-started", std::nullopt, fmt::format("{} blocks", total_)};
    } else {
      record_.state = ScrubState::running;
    }
    if (request.rate) record_.rate = *request.rate;
    trouble_.clear();
    if (outcome == Outcome::done) meter_ = {};
  }
  changed_.notify_all();
  if (outcome == Outcome::already && !request.rate) return outcome;
  if (auto saved = save(); !saved) return fail(std::move(saved.error()));
  return outcome;
}

Result<Outcome> Scrubber::end(ScrubState state) {
  {
    const MutexLock lock(mutex_);
    const bool can_end = runs() || (state == ScrubState::stopped && record_.state == ScrubState::paused);
    if (!can_end) return Outcome::already;
    record_.state = state;
    trouble_.clear();
  }
  changed_.notify_all();
  if (auto saved = save(); !saved) return fail(std::move(saved.error()));
  return Outcome::done;
}

ScrubStatus Scrubber::status() const {
  const MutexLock lock(mutex_);
  ScrubStatus now{record_, total_, 0, trouble_};
  if (runs()) now.bytes_per_second = meter_.bytes_per_second();
  return now;
}

bool Scrubber::wait(std::chrono::milliseconds timeout) {
  const auto until = Clock::now() + timeout;
  MutexLock lock(mutex_);
  while (runs()) {
    if (changed_.wait_until(lock, until) == std::cv_status::timeout) return !runs();
  }
  return true;
}

Result<void> Scrubber::need_thread() {
  if (thread_.joinable()) return {};
  try {
    thread_ = std::thread([this] { work(); });
  } catch (const std::system_error&) {
    return fail(Errc::no_memory, "no thread can be had, a scrub, free memory or raise the limit");
  }
  return {};
}

void Scrubber::work() {
  while (const auto step = await_step()) {
    Clock::duration pause = kDevicePause;
    if (step->due) {
      Done done = carry_out(*step);
      take_in(*step, done);
      pause = done.pause;
    }
    // What cannot be saved is tried again; the map's own state says what is wrong.
    if (must_save()) static_cast<void>(save());
    changed_.notify_all();
    rest(*step, pause);
  }
}

std::optional<Scrubber::Step> Scrubber::await_step() {
  MutexLock lock(mutex_);
  while (!leaving_ && !runs() && !unsaved_) changed_.wait(lock);
  if (leaving_) return std::nullopt;
  return Step{run_, record_.next, record_.rate, runs()};
}

bool Scrubber::must_save() const {
  const MutexLock lock(mutex_);
  return unsaved_ || (runs() && Clock::now() - saved_at_ >= save_after_);
}

Scrubber::Done Scrubber::carry_out(const Step& step) {
  const std::uint64_t requests = requests_so_far();
  const ScrubPace pace(volume_.block_geometry().block_size(), step.rate, requests != requests_seen_);
  requests_seen_ = requests;
  Done done{step.from, {}, {}, {}};
  const auto begin = Clock::now();
  const auto go_on = [&] {
    const MutexLock lock(mutex_);
    return !leaving_ && runs() && run_ == step.run;
  };
  if (step.from.value() < total_) done.next = volume_.scrub(step.from, pace.blocks(), done.found, go_on);
  done.took = Clock::now() - begin;
  done.pause =
      done.next ? pace.pause_after(bytes_of({step.from, *done.next}), done.took) : Clock::duration(kDevicePause);
  return done;
}

void Scrubber::take_in(const Step& step, Done& done) {
  const MutexLock lock(mutex_);
  if (step.run != run_) return;  // of a scrub that has been replaced
  record_.found += done.found;
  // It was held or stopped meanwhile, and that was saved without this step.
  if (!runs()) unsaved_ = true;
  if (!done.next) {
    if (!runs()) return;
    trouble_ = describe(done.next.error());
    if (waits_for_a_device(done.next.error())) return;
    end_with(ScrubState::paused, {"scrub-paused", std::nullopt, trouble_});
    return;
  }
  trouble_.clear();
  record_.next = *done.next;
  meter_.add(bytes_of({step.from, *done.next}).value(), done.took + done.pause);
  if (record_.next.value() < total_ || !runs()) return;
  end_with(ScrubState::finished, {"scrub-finished", std::nullopt, in_words(record_.found)});
  done.pause = {};
}

void Scrubber::end_with(ScrubState state, Event event) {
  record_.state = state;
  unsaved_ = true;
  unsaved_event_ = std::move(event);
}

void Scrubber::rest(const Step& step, Clock::duration pause) {
  const auto until = Clock::now() + pause;
  MutexLock lock(mutex_);
  while (!leaving_ && runs() == step.due && run_ == step.run && record_.rate == step.rate && (runs() || unsaved_)) {
    if (changed_.wait_until(lock, until) == std::cv_status::timeout) return;
  }
}

Result<void> Scrubber::save() {
  const MutexLock in_turn(saving_);
  ScrubRecord record;
  std::optional<Event> event;
  {
    const MutexLock lock(mutex_);
    record_.updated_at = utc_now();
    saved_at_ = Clock::now();
    record = record_;
    unsaved_ = false;
    event = std::exchange(unsaved_event_, std::nullopt);
  }
  auto saved = volume_.record_scrub(record, event);
  if (saved) return saved;
  const MutexLock lock(mutex_);
  unsaved_ = true;
  if (!unsaved_event_) unsaved_event_ = std::move(event);
  return saved;
}

std::uint64_t Scrubber::requests_so_far() const {
  const VolumeStatus now = volume_.status();
  return now.reads + now.writes;
}

ByteCount Scrubber::bytes_of(BlockRange blocks) const {
  const BlockGeometry& geometry = volume_.block_geometry();
  const std::uint64_t end = std::min(geometry.begin_of(blocks.end).value(), volume_.size().value());
  return ByteCount(end - std::min(end, geometry.begin_of(blocks.begin).value()));
}

}  // namespace remapfs
