// SPDX-License-Identifier: Apache-2.0
// noop_server MOUNTPOINT BYTES WORKERS: our transport in front of a disk that does nothing at all, so that what is
// measured is the transport. In the foreground until it is unmounted or gets SIGTERM.
#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <thread>

#include "fuse/mount_point.hpp"
#include "fuse/operations.hpp"
#include "fuse/transport.hpp"

namespace {

using namespace remapfs;
using namespace remapfs::fuse;

class NoDisk final : public VirtualDisk {
 public:
  explicit NoDisk(std::uint64_t size) : size_(size) {}
  [[nodiscard]] ByteCount size() const override { return ByteCount(size_); }
  [[nodiscard]] bool read_only() const override { return false; }
  Result<std::size_t> read(ByteOffset /*offset*/, std::span<std::byte> buffer) override { return buffer.size(); }
  Result<void> write(ByteOffset /*offset*/, std::span<const std::byte> /*data*/) override { return {}; }
  Result<void> flush() override { return {}; }
  Result<void> zero(ByteRange /*range*/) override { return {}; }
  Result<void> punch(ByteRange /*range*/) override { return {}; }
  [[nodiscard]] bool can_punch() const override { return false; }
  Result<ByteOffset> seek_data(ByteOffset from) override { return from; }
  Result<ByteOffset> seek_hole(ByteOffset /*from*/) override { return ByteOffset(size_); }

 private:
  std::uint64_t size_;
};

int complain(const Error& error) {
  std::fprintf(stderr, "noop_server: %s\n", describe(error).c_str());
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("usage: noop_server MOUNTPOINT BYTES WORKERS\n", stderr);
    return 1;
  }
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  NoDisk disk(std::strtoull(argv[2], nullptr, 10));
  MountOptions mount;
  mount.source = "noop";
  auto channel = mount_fuse(argv[1], mount);
  if (!channel) return complain(channel.error());
  OperationsOptions look;
  look.root = channel->root;
  Operations operations(disk, look);
  auto descriptors = clone_descriptors(channel->descriptor, static_cast<unsigned>(std::strtoul(argv[3], nullptr, 10)));
  if (!descriptors) return complain(descriptors.error());
  TransportOptions options;
  options.connection = channel->connection;
  auto transport = Transport::start(std::move(*descriptors), Operations::table(), &operations, options);
  if (!transport) return complain(transport.error());

  std::thread stopper([&] {
    int signal = 0;
    sigwait(&signals, &signal);
    if (signal != SIGUSR1) (*transport)->stop();
  });
  const auto end = (*transport)->wait();
  pthread_kill(stopper.native_handle(), SIGUSR1);
  stopper.join();
  return end ? 0 : complain(end.error());
}
