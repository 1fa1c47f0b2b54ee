// SPDX-License-Identifier: Apache-2.0
// bench_direct_reads FILE REPEATS SECTOR...: reads one sector at a time, O_DIRECT, the given ones in turn, and prints
// as JSON how long a read took, in nanoseconds of the monotonic clock. A read that fails, or reads less, ends it.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "remapfs/aligned_buffer.hpp"
#include "remapfs/units.hpp"

namespace {

using remapfs::kSectorSize;
using Clock = std::chrono::steady_clock;

// Of ascending samples, the smallest that at least `share` of all do not exceed.
long long percentile(const std::vector<long long>& samples, double share) {
  const auto rank = static_cast<std::size_t>(share * static_cast<double>(samples.size()) + 0.999999);
  return samples[std::clamp<std::size_t>(rank, 1, samples.size()) - 1];
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || std::strtoull(argv[2], nullptr, 10) == 0) {
    std::fputs("usage: bench_direct_reads FILE REPEATS SECTOR...\n", stderr);
    return 1;
  }
  const int file = ::open(argv[1], O_RDONLY | O_DIRECT | O_CLOEXEC);
  auto buffer = remapfs::AlignedBuffer::allocate(kSectorSize);
  if (file < 0 || !buffer) {
    std::fprintf(stderr, "bench_direct_reads: %s: %s\n", argv[1], std::strerror(errno));
    return 2;
  }
  std::vector<off_t> offsets;
  for (int i = 3; i < argc; ++i) {
    offsets.push_back(static_cast<off_t>(std::strtoull(argv[i], nullptr, 10) * kSectorSize));
  }

  std::vector<long long> samples(std::strtoull(argv[2], nullptr, 10));
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const off_t offset = offsets[i % offsets.size()];
    const auto start = Clock::now();
    const ssize_t got = ::pread(file, buffer->data(), kSectorSize, offset);
    samples[i] = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
    if (got == static_cast<ssize_t>(kSectorSize)) continue;
    std::fprintf(stderr, "bench_direct_reads: %s, byte %lld: %s\n", argv[1], static_cast<long long>(offset),
                 got < 0 ? std::strerror(errno) : "short read");
    return 2;
  }
  ::close(file);
  std::ranges::sort(samples);
  std::printf("{\"reads\": %zu, \"p50_ns\": %lld, \"p99_ns\": %lld, \"p999_ns\": %lld, \"max_ns\": %lld}\n",
              samples.size(), percentile(samples, 0.5), percentile(samples, 0.99), percentile(samples, 0.999),
              samples.back());
  return 0;
}
