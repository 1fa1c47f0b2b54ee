// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <tl/expected.hpp>

namespace remapfs::sim {

// Runs body in a child process and returns what it returned: whatever it does to the state of its process, the next one
// begins from the same; and a program that ends is no more than a result.
// Errors: how the child ended, in words. Threads: of a process that has one.
tl::expected<std::string, std::string> run_apart(const std::function<std::string()>& body);

}  // namespace remapfs::sim
