// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <future>
#include <optional>
#include <string>
#include <vector>

#include "core/unique_fd.hpp"
#include "remapfs/error.hpp"
#include "remapfs/thread_annotations.hpp"
#include "remapfs/volume.hpp"

namespace remapfs::cli {

// Requests to end the service, from threads of the control server to the thread that can: unmounting, which is answered
// when it is done, and going over to another program, which is answered when it begins or cannot.
//
// Threads: ask_to_unmount() and ask_to_upgrade() from any but the one that answers; wake() from any.
class EndRequests {
 public:
  // Somebody waits for the answer.
  struct Upgrade {
    std::string program;  // that is to go on
    std::promise<Result<Outcome>> answer;
  };

  EndRequests();

  Result<Outcome> ask_to_unmount() EXCLUDES(mutex_);
  Result<Outcome> ask_to_upgrade(const std::string& program) EXCLUDES(mutex_);

  // Readable when there is something to look at.
  [[nodiscard]] int descriptor() const { return wake_.get(); }
  void wake() const;
  void clear_wake() const;

  [[nodiscard]] bool unmount_wanted() EXCLUDES(mutex_);
  // Answers those who wait for the unmount.
  void answer_unmount(const Result<Outcome>& answer) EXCLUDES(mutex_);
  // The one that has waited longest; the caller answers it.
  [[nodiscard]] std::optional<Upgrade> take_upgrade() EXCLUDES(mutex_);
  // Answers everybody who waits, and everybody who still asks.
  void answer_for_good(const Result<Outcome>& answer) EXCLUDES(mutex_);

 private:
  const UniqueFd wake_;
  Mutex mutex_;
  std::vector<std::promise<Result<Outcome>>> unmounts_ GUARDED_BY(mutex_);
  std::deque<Upgrade> upgrades_ GUARDED_BY(mutex_);
  std::optional<Result<Outcome>> final_answer_ GUARDED_BY(mutex_);
};

}  // namespace remapfs::cli
