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

VolumeTarget::VolumeTarget(Volume& volume, std::function<void(StatusReport&)> describe,
                           std::function<Result<Outcome>()> unmount)
    : volume_(&volume),
      block_count_(volume.block_geometry().blocks_in(volume.size())),
      describe_(std::move(describe)),
      unmount_(std::move(unmount)) {}

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
    case Verb::import_entries: break;
  }
  return fail(Errc::invalid, "control request: the verb takes no blocks");
}

Result<void> VolumeTarget::import_entries(std::span<const ImportRun> runs, ImportCounts& counts) {
  const Visit visit(*this);
  if (visit.volume() == nullptr) return fail(being_unmounted());
  return visit.volume()->import_entries(runs, counts);
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
  if (describe_) describe_(report);
  return report;
}

Result<Outcome> VolumeTarget::unmount() {
  if (!unmount_) return fail(Errc::unsupported, "not mounted, nothing to unmount");
  return unmount_();
}

void VolumeTarget::detach() {
  MutexLock lock(mutex_);
  volume_ = nullptr;
  while (inside_ != 0) left_.wait(lock);
}

}  // namespace remapfs
