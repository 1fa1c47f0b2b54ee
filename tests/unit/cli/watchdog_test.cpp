// SPDX-License-Identifier: Apache-2.0
#include "cli/watchdog.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <string>

#include "core/unique_fd.hpp"
#include "support/temp_dir.hpp"

namespace remapfs::cli {
namespace {

std::string receive(const UniqueFd& fd) {
  std::array<char, 200> text{};
  const ssize_t got = ::recv(fd.get(), text.data(), text.size(), MSG_DONTWAIT);
  return got < 0 ? "nothing" : std::string(text.data(), static_cast<std::size_t>(got));
}

UniqueFd listen_at(const std::string& name) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path, sizeof address.sun_path - 1);
  if (name[0] == '@') address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length), 0);
  return fd;
}

TEST(Watchdog, IsForWhomTheManagerNamed) {
  using std::chrono::microseconds;
  EXPECT_EQ(watchdog_interval("2000000", "", 7), microseconds(2000000));
  EXPECT_EQ(watchdog_interval("2000000", "7", 7), microseconds(2000000));
  EXPECT_EQ(watchdog_interval("2000000", "8", 7), microseconds(0));
  for (const char* const bad : {"", "0", "-5", "1s", "99999999999999999999"}) {
    EXPECT_EQ(watchdog_interval(bad, "", 7), microseconds(0)) << bad;
  }
}

TEST(Watchdog, MessageOfAReloadSaysWhenItBegan) {
  const std::string message = reloading_message();
  EXPECT_TRUE(message.starts_with("RELOADING=1\nMONOTONIC_USEC="));
  EXPECT_GT(std::stoull(message.substr(message.rfind('=') + 1)), 0U);
}

TEST(Watchdog, GetsASignOfLifeAtLeastTwiceInAnInterval) {
  using namespace std::chrono_literals;
  const remapfs::testing::TempDir dir;
  const UniqueFd manager = listen_at(dir / "notify");
  Watchdog watchdog(dir / "notify", 100ms);
  pollfd nothing[1] = {{-1, POLLIN, 0}};
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(watchdog.poll(nothing, 300), 0);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 300ms);
  int signs = 0;
  while (receive(manager) == "WATCHDOG=1") ++signs;
  EXPECT_GE(signs, 5);
  EXPECT_LE(signs, 8);
}

TEST(Watchdog, DoesNotKeepAnEventWaiting) {
  const remapfs::testing::TempDir dir;
  const UniqueFd manager = listen_at(dir / "notify");
  Watchdog watchdog(dir / "notify", std::chrono::hours(1));
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  ASSERT_EQ(::write(ends[1], "x", 1), 1);
  pollfd entries[1] = {{ends[0], POLLIN, 0}};
  EXPECT_EQ(watchdog.poll(entries, -1), 1);
  EXPECT_EQ(entries[0].revents, POLLIN);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(Watchdog, ThatNobodyAskedForSaysNothing) {
  const remapfs::testing::TempDir dir;
  const UniqueFd manager = listen_at(dir / "notify");
  Watchdog watchdog(dir / "notify", {});
  pollfd nothing[1] = {{-1, POLLIN, 0}};
  EXPECT_EQ(watchdog.poll(nothing, 10), 0);
  EXPECT_EQ(receive(manager), "nothing");
}

}  // namespace
}  // namespace remapfs::cli
