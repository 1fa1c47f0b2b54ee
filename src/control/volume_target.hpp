// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <functional>

#include "control/block_verbs.hpp"
#include "remapfs/thread_annotations.hpp"

namespace remapfs {

// The control verbs on a Volume.
//
// Threads: verbs run side by side; detach() waits for those running and turns away later ones, so that the volume can
//   be closed while the control socket still answers.
class VolumeTarget final : public ControlTarget {
 public:
  // What belongs to the service of a mount and not to the volume; each may be empty.
  struct Service {
    // Fills in what the volume itself does not know (mount point, engine, ...); not called after detach().
    std::function<void(StatusReport&)> describe;
    // End the service; called without any lock held. Empty: the verbs answer `unsupported`.
    std::function<Result<Outcome>()> unmount;
    std::function<Result<Outcome>(const std::string& program)> upgrade;
    // Not called after detach().
    std::function<Result<JobReply>(const ScrubRequest&)> scrub;
    std::function<Result<JobReply>(const ReplaceRequest&)> replace;
    std::function<Result<Outcome>(const std::string& path)> add_spare;
  };
  // volume must live until detach() or the destructor.
  explicit VolumeTarget(Volume& volume, Service service = {});

  Result<Outcome> apply(Verb verb, BlockIndex block) override;
  Result<void> import_entries(std::span<const ImportRun> runs, ImportCounts& counts) override;
  Result<JobReply> scrub(const ScrubRequest& request) override;
  Result<JobReply> replace(const ReplaceRequest& request) override;
  Result<Outcome> add_spare(const std::string& path) override;
  Result<Outcome> retire_spare(SpareId id, const std::function<bool(BlockIndex)>& moved) override;
  Result<Outcome> record_smart(const std::vector<SmartReading>& readings) override;
  Result<Outcome> resume() override;
  Result<StatusReport> status() override;
  Result<Outcome> unmount() override;
  Result<Outcome> upgrade(const std::string& program) override;
  [[nodiscard]] std::uint64_t block_count() const override { return block_count_; }

  // Lets go of the volume: waits for the calls in it, answers `suspended` from now on.
  void detach();

 private:
  class Visit;  // one call into the volume
  [[nodiscard]] bool detached();

  // A reader-writer lock would not do: glibc's lets a stream of readers starve detach() for ever.
  Mutex mutex_;
  std::condition_variable_any left_;
  Volume* volume_ GUARDED_BY(mutex_);
  unsigned inside_ GUARDED_BY(mutex_) = 0;  // calls running in the volume

  const std::uint64_t block_count_;
  const Service service_;
};

}  // namespace remapfs
