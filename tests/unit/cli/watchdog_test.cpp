// SPDX-License-Identifier: Apache-2.0
#include "cli/watchdog.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <string>

#include "support/temp_dir.hpp"
#include "unit/cli/notify_socket.hpp"

namespace remapfs::cli {
namespace {

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
