// SPDX-License-Identifier: Apache-2.0
#include "cli/end_requests.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

namespace remapfs::cli {

EndRequests::EndRequests() : wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Result<Outcome> EndRequests::ask_to_unmount() {
  std::future<Result<Outcome>> answer;
  {
    const MutexLock lock(mutex_);
    if (final_answer_) return *final_answer_;
    answer = unmounts_.emplace_back().get_future();
  }
  wake();
  return answer.get();
}

Result<Outcome> EndRequests::ask_to_upgrade(const std::string& program) {
  std::future<Result<Outcome>> answer;
  {
    const MutexLock lock(mutex_);
    if (final_answer_) return *final_answer_;
    answer = upgrades_.emplace_back(Upgrade{program, {}}).answer.get_future();
  }
  wake();
  return answer.get();
}

void EndRequests::wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

void EndRequests::clear_wake() const {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &count, sizeof count);
}

bool EndRequests::unmount_wanted() {
  const MutexLock lock(mutex_);
  return !unmounts_.empty();
}

void EndRequests::answer_unmount(const Result<Outcome>& answer) {
  std::vector<std::promise<Result<Outcome>>> waiting;
  {
    const MutexLock lock(mutex_);
    waiting.swap(unmounts_);
  }
  for (auto& one : waiting) one.set_value(answer);
}

std::optional<EndRequests::Upgrade> EndRequests::take_upgrade() {
  const MutexLock lock(mutex_);
  if (upgrades_.empty()) return std::nullopt;
  std::optional<Upgrade> longest(std::move(upgrades_.front()));
  upgrades_.pop_front();
  return longest;
}

void EndRequests::answer_for_good(const Result<Outcome>& answer) {
  std::deque<Upgrade> upgrades;
  {
    const MutexLock lock(mutex_);
    final_answer_ = answer;
    upgrades.swap(upgrades_);
  }
  answer_unmount(answer);
  for (auto& one : upgrades) one.answer.set_value(answer);
}

}  // namespace remapfs::cli
