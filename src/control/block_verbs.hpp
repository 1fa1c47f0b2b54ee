// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <span>

#include "control/protocol.hpp"
#include "control/scrub_report.hpp"
#include "control/status_report.hpp"

namespace remapfs {

// What a request about something that goes on in the background did, and how that is then.
struct JobReply {
  Outcome outcome = Outcome::done;
  nlohmann::ordered_json job;
};

// What the control verbs act on: a mounted volume seen from its daemon, or one opened by the command itself.
//
// Threads: every member from any number of threads.
class ControlTarget {
 public:
  virtual ~ControlTarget() = default;

  // One of the verbs that take blocks, on one block inside the disk.
  virtual Result<Outcome> apply(Verb verb, BlockIndex block) = 0;
  // Enters blocks that have no entry, as Volume::import_entries(); adds to counts what was done, also before an error.
  virtual Result<void> import_entries(std::span<const ImportRun> runs, ImportCounts& counts) = 0;
  // As Scrubber::apply(); how the scrub is then.
  virtual Result<JobReply> scrub(const ScrubRequest& request) = 0;
  // As Replacer, whose errors show in how it is then.
  virtual Result<JobReply> replace(const ReplaceRequest& request) = 0;
  // Takes the device at this path, which was prepared, as one more spare. Errors: as Volume::add_spare().
  virtual Result<Outcome> add_spare(const std::string& path) = 0;
  // As Volume::retire_spare().
  virtual Result<Outcome> retire_spare(SpareId id, const std::function<bool(BlockIndex)>& moved) = 0;
  // Keeps them in the map. Errors: as Volume::record_smart().
  virtual Result<Outcome> record_smart(const std::vector<SmartReading>& readings) = 0;
  virtual Result<Outcome> resume() = 0;
  virtual Result<StatusReport> status() = 0;
  // Ends the service in order; when it returns success, everything is flushed, the map is closed and its lock is free.
  // Errors: busy, naming the users (the service goes on), or what flushing or closing said (the service has ended).
  virtual Result<Outcome> unmount() = 0;
  // Leaves the mount to the program at this absolute path, once that has shown that it can go on; success: it is about
  // to. Errors: invalid, unsupported, too_new: it cannot, and the service goes on.
  virtual Result<Outcome> upgrade(const std::string& program) = 0;
  // Blocks of the disk; blocks are numbered below it.
  [[nodiscard]] virtual std::uint64_t block_count() const = 0;
};

// Applies a block verb to every block of the ranges, in order, whatever becomes of each, and tells `report` about it
// before going on to the next. Ends early when report returns false.
// Errors: a block outside the disk is reported as `invalid` once a range, for its first block outside; interrupted
//   when report ended it.
Completion apply_blocks(ControlTarget& target, Verb verb, std::span<const BlockRange> ranges,
                        const std::function<bool(const BlockReport&)>& report);

}  // namespace remapfs
