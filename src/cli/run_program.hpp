// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "remapfs/error.hpp"

namespace remapfs::cli {

struct ProgramOutput {
  int exit_status = -1;  // -1: ended by a signal
  std::string out;       // standard output
};

struct ProgramLimits {
  std::chrono::milliseconds time{30000};
  std::size_t output = std::size_t{8} << 20U;
};

// As exec() wants it: the words, which outlive it and are not changed, and a null pointer.
[[nodiscard]] std::vector<char*> argv_of(const std::vector<std::string>& words);

// Runs another program to its end and returns what it printed; it is given nothing of our environment, prints in the C
// locale, and its error stream is thrown away.
//
// path: folders with colons between, where arguments[0] is looked for. input: its standard input.
// Errors: not_found (it is not installed), timeout (it was killed; one that waits for a dead device is left to itself),
//   invalid (it printed too much), no_memory, device_other.
// Threads: any.
Result<ProgramOutput> run_program(const std::vector<std::string>& arguments, const std::string& path,
                                  const std::string& input = {}, ProgramLimits limits = {});

}  // namespace remapfs::cli
