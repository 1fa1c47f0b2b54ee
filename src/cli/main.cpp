// SPDX-License-Identifier: Apache-2.0
#include "cli/run.hpp"

int main(int argc, char** argv) {
  remapfs::cli::World world = remapfs::cli::World::of_process();
  return remapfs::cli::run({argv + 1, static_cast<std::size_t>(argc > 0 ? argc - 1 : 0)}, world);
}
