// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "control/protocol.hpp"
#include "core/unique_fd.hpp"
#include "store/create_volume.hpp"
#include "support/fake_disk.hpp"
#include "unit/cli/test_world.hpp"

// A daemon is whoever made the mount, and root asks it too: whatever it says, the command that asks it ends by itself,
// with one line.

namespace remapfs::cli {
namespace {

using testing::TestWorld;

constexpr uid_t kUser = 1234;

// Answers whatever it is asked with this status.
class HostileDaemon {
 public:
  HostileDaemon(const std::string& path, std::string status)
      : answer_(fmt::format("{{\"status\":{}}}\n{}", status,
                            encode(Completion{Outcome::done, 0, {}, {}, {}}).dump() + "\n")),
        listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_.get(), 8), 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~HostileDaemon() {
    leaving_ = true;
    thread_.join();
  }

 private:
  void serve() {
    while (!leaving_) {
      pollfd entry{listener_.get(), POLLIN, 0};
      if (::poll(&entry, 1, 20) != 1) continue;
      const UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      std::array<char, 4096> request{};
      if (client && ::read(client.get(), request.data(), request.size()) > 0) {
        static_cast<void>(::send(client.get(), answer_.data(), answer_.size(), MSG_NOSIGNAL));
      }
    }
  }

  const std::string answer_;
  UniqueFd listener_;
  std::atomic<bool> leaving_{false};
  std::thread thread_;
};

class HostileDaemons : public ::testing::Test {
 protected:
  HostileDaemons() : spare_(ByteCount(4U << 20U)) {
    store::CreateSpec spec;
    spec.map_path = map_;
    spec.size = ByteCount(1U << 20U);
    spec.primary_path = test_.dir / "primary";
    spec.spare_path = test_.dir / "spare";
    const auto made = store::create_volume(spec, spare_);
    if (!made) throw std::runtime_error(describe(made.error()));
    test_.world.uid = kUser;
    test_.set_mountinfo("");
    const std::string folder = test_.dir / "run/remapfs";
    std::filesystem::create_directories(folder);
    socket_ = fmt::format("{}/{}.sock", folder, made->uuid);
  }

  TestWorld test_;
  remapfs::testing::FakeDisk spare_;
  std::string map_ = test_.dir / "map";
  std::string socket_;
};

TEST_F(HostileDaemons, WhateverTheySayIsAnErrorOfOneLine) {
  const std::vector<std::string> statuses{
      "{}",
      R"({"map":5})",
      R"({"map":null,"mountpoint":[],"state":{},"spare":7})",
      R"({"map":"/elsewhere","reasons":"none","crash_survival":{"restarts":"x"}})",
      R"({"mounted":"yes","lost_sectors":-1,"volume":[],"spares":{},"primary":"x","block_size":1e300})",
  };
  for (const std::string& status : statuses) {
    std::filesystem::remove(socket_);
    const HostileDaemon daemon(socket_, status);
    for (const std::vector<const char*>& command : std::vector<std::vector<const char*>>{
             {"status", map_.c_str()},
             {"status", map_.c_str(), "-J"},
             {"list", map_.c_str()},
             {"metrics", map_.c_str()},
             {"report", map_.c_str(), "-J"},
             {"scrub", map_.c_str(), "status"},
             {"replace", map_.c_str(), "--status"},
             {"resume", map_.c_str()},
             {"spare", map_.c_str(), "list"},
             {"smart", map_.c_str()},
             {"events", map_.c_str()},
         }) {
      SCOPED_TRACE(fmt::format("{} {}", command[0], status));
      const int code = test_.run(command);
      const std::string error = test_.err.str();
      EXPECT_TRUE(code == kExitDone || code == kExitCouldNot || code == kExitUsage) << code;
      EXPECT_LE(std::count(error.begin(), error.end(), '\n'), 1) << error;
    }
  }
}

}  // namespace
}  // namespace remapfs::cli
