// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>

#include "core/unique_fd.hpp"

// Other processes, by their numbers. No allocation. Threads: any.

namespace remapfs::cli {

// A pidfd, which can be polled and stands for this process alone, also when its number is given to another one; none
// when there is no such process.
[[nodiscard]] UniqueFd open_process(pid_t process);
// Whether the process of a pidfd has ended, or does so in this time; below zero: waits for that.
[[nodiscard]] bool has_ended(const UniqueFd& process,
                             std::chrono::milliseconds patience = std::chrono::milliseconds(0));
// When a process was started, in ticks since the machine was: with its number, this is no other. 0: it cannot be told.
[[nodiscard]] std::uint64_t start_of_process(pid_t process);

}  // namespace remapfs::cli
