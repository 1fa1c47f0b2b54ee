// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstdlib>

#include "mounted_disk.hpp"

// fuse_memory_server MOUNTPOINT BYTES WORKERS [rings]: serves a memory disk in the foreground until it is unmounted.
int main(int argc, char** argv) {
  using namespace remapfs::fuse::test;
  if (argc != 4 && argc != 5) {
    std::fputs("usage: fuse_memory_server MOUNTPOINT BYTES WORKERS [rings]\n", stderr);
    return 1;
  }
  const SharedMemory memory(std::strtoull(argv[2], nullptr, 10));
  memory.fill_with_pattern();
  ServeOptions options;
  options.workers = static_cast<unsigned>(std::strtoul(argv[3], nullptr, 10));
  options.rings = argc == 5;
  options.mount.source = "memory";
  return serve(memory, argv[1], options, [](const std::string& text) {
    std::puts(text.c_str());
    std::fflush(stdout);
  });
}
