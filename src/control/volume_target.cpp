// SPDX-License-Identifier: Apache-2.0
#include "control/volume_target.hpp"

#include <utility>

namespace remapfs {
namespace {

Error being_unmounted() { return {Errc::suspended, 0, "the volume is being unmounted, mount it again to go on"}; }

}  // namespace

// Keeps the volume from being detached while it lives; volume() is null when that has happened already.
class VolumeTarget::Visit {
 public:
  explicit Visit(VolumeTarget& target) : target_(target) {
    const MutexLock lock(target_.mutex_);
    volume_ = target_.volume_;
    if (volume_ != nullptr) ++target_.inside_;
  }
  ~Visit() {
    if (volume_ == nullptr) return;
    const MutexLock lock(target_.mutex_);
    if (--target_.inside_ == 0) target_.left_.notify_all();
  }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;

  [[nodiscard]] Volume* volume() const { return volume_; }

 private:
  VolumeTarget& target_;
  Volume* volume_ = nullptr;
};

VolumeTarget::VolumeTarget(Volume& volume, Service service)
    : volume_(&volume), block_count_(volume.block_geometry().blocks_in(volume.size())), service_(std::move(service)) {}

Result<Outcome> VolumeTarget::apply(Verb verb, BlockIndex block) {
  const Visit visit(*this);
  Volume* const volume = visit.volume();
  if (volume == nullptr) return fail(being_unmounted());
  switch (verb) {
    case Verb::add: return volume->add(block);
    case Verb::remove: return volume->remove(block);
    case Verb::retest: return volume->retest(block);
    case Verb::mark_lost: return volume->mark_lost(block);
    case Verb::clear_lost: return volume->clear_lost(block);
    case Verb::status:
    case Verb::resume:
    case Verb::unmount:
    case Verb::import_entries:
    case Verb::upgrade:
    case Verb::scrub:
    case Verb::spare_add:
    case Verb::spare_retire:
    case Verb::replace:
    case Verb::smart: break;
  }
  return fail(Errc::invalid, "control request: the verb takes no blocks");
}

Result<void> VolumeTarget::import_entries(std::span<const ImportRun> runs, ImportCounts& counts) {
  const Visit visit(*this);
  if (visit.volume() == nullptr) return fail(being_unmounted());
  return visit.volume()->import_entries(runs, counts);
}

Result<JobReply> VolumeTarget::scrub(const ScrubRequest& request) {
  const Visit visit(*this);
  if (visit.volume() == nullptr) return fail(being_unmounted());
  if (!service_.scrub) return fail(Errc::unsupported, "not mounted, nothing scrubs in the background");
  return service_.scrub(request);
}

Result<JobReply> VolumeTarget::replace(const ReplaceRequest& request) {
  const Visit visit(*this);
  if (visit.volume() == nullptr) return fail(being_unmounted());
  if (!service_.replace) return fail(Errc::unsupported, "not mounted, nobody to replace a primary in the background");
  return service_.replace(request);
}

Result<Outcome> VolumeTarget::add_spare(const std::string& path) {
  const Visit visit(*this);
  if (visit.volume() == nullptr) return fail(being_unmounted());
  if (!service_.add_spare) return fail(Errc::unsupported, "not mounted, nobody to take a spare");
  return service_.add_spare(path);
}

Result<Outcome> VolumeTarget::retire_spare(SpareId id, const std::function<bool(BlockIndex)>& moved) {
  const Visit visit(*this);
  if (visit.volume() == nullptr) return fail(being_unmounted());
  // It may take hours: whoever detaches does not wait for the end of it.
  const auto go_on = [&](BlockIndex block) { return !detached() && moved(block); };
  if (auto retired = visit.volume()->retire_spare(id, go_on); !retired) return fail(std::move(retired).error());
  return Outcome::done;
}

Result<Outcome> VolumeTarget::record_smart(const std::vector<SmartReading>& readings) {
  const Visit visit(*this);
  if (visit.volume() == nullptr) return fail(being_unmounted());
  if (auto recorded = visit.volume()->record_smart(readings); !recorded) return fail(std::move(recorded).error());
  return Outcome::done;
}

Result<Outcome> VolumeTarget::resume() {
  const Visit visit(*this);
  if (visit.volume() == nullptr) return fail(being_unmounted());
  return visit.volume()->resume();
}

Result<StatusReport> VolumeTarget::status() {
  const Visit visit(*this);
  if (visit.volume() == nullptr) return fail(being_unmounted());
  StatusReport report;
  report.info = visit.volume()->info();
  report.volume = visit.volume()->status();
  report.read_only = visit.volume()->read_only();
  report.scrub = scrub_at_rest(report.info);
  if (service_.describe) service_.describe(report);
  return report;
}

Result<Outcome> VolumeTarget::unmount() {
  if (!service_.unmount) return fail(Errc::unsupported, "not mounted, nothing to unmount");
  return service_.unmount();
}

Result<Outcome> VolumeTarget::upgrade(const std::string& program) {
  if (!service_.upgrade) return fail(Errc::unsupported, "not mounted, nothing to upgrade");
  return service_.upgrade(program);
}

bool VolumeTarget::detached() {
  const MutexLock lock(mutex_);
  return volume_ == nullptr;
}

void VolumeTarget::detach() {
  MutexLock lock(mutex_);
  // What may take its time ends early.
  if (volume_ != nullptr) volume_->interrupt_waits();
  volume_ = nullptr;
  while (inside_ != 0) left_.wait(lock);
}

}  // namespace remapfs
