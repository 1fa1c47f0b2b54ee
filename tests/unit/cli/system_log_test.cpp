// SPDX-License-Identifier: Apache-2.0
#include "cli/system_log.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>

#include "support/temp_dir.hpp"
#include "unit/cli/notify_socket.hpp"

namespace remapfs::cli {
namespace {

using ::testing::EndsWith;
using ::testing::MatchesRegex;

class SystemLogTest : public ::testing::Test {
 protected:
  remapfs::testing::TempDir dir_;
  const std::string path_ = dir_ / "log";
};

TEST_F(SystemLogTest, ALineHasPriorityTimeNameAndProcess) {
  const UniqueFd reader = listen_at(path_);
  SystemLog log(path_);
  EXPECT_TRUE(log.say(LOG_WARNING, "block 7: moved"));
  EXPECT_THAT(receive(reader), MatchesRegex("<28>[A-Z][a-z][a-z] [ 0-9][0-9] [0-9:]{8} remapfs\\[" +
                                            std::to_string(::getpid()) + "\\]: block 7: moved"));
}

TEST_F(SystemLogTest, ALongMessageIsCut) {
  const UniqueFd reader = listen_at(path_);
  SystemLog log(path_);
  EXPECT_TRUE(log.say(LOG_ERR, std::string(5000, 'x')));
  std::array<char, 8000> text{};
  const ssize_t got = ::recv(reader.get(), text.data(), text.size(), MSG_DONTWAIT);
  ASSERT_GT(got, 1000);
  EXPECT_EQ(std::count(text.begin(), text.end(), 'x'), 1000);
}

// With a log that is written to a file system above us, waiting for it is waiting for ourselves.
TEST_F(SystemLogTest, NobodyWaitsForALogThatIsNotRead) {
  const UniqueFd reader = listen_at(path_);
  SystemLog log(path_);
  int sent = 0;
  while (sent < 10'000 && log.say(LOG_INFO, "line " + std::to_string(sent))) ++sent;
  EXPECT_GT(sent, 0);
  ASSERT_LT(sent, 10'000) << "the queue never filled: the test shows nothing";
  for (int i = 0; i < sent; ++i) EXPECT_THAT(receive(reader), EndsWith("line " + std::to_string(i)));
  EXPECT_TRUE(log.say(LOG_INFO, "read again"));
  EXPECT_THAT(receive(reader), EndsWith(": read again"));
}

TEST_F(SystemLogTest, FindsAReaderThatCameLaterOrWasStartedAnew) {
  SystemLog log(path_);
  EXPECT_FALSE(log.say(LOG_INFO, "nobody is there"));
  std::optional<UniqueFd> reader = listen_at(path_);
  EXPECT_TRUE(log.say(LOG_INFO, "first"));
  EXPECT_THAT(receive(*reader), EndsWith(": first"));
  reader.reset();
  std::filesystem::remove(path_);
  EXPECT_FALSE(log.say(LOG_INFO, "gone"));
  reader = listen_at(path_);
  EXPECT_TRUE(log.say(LOG_INFO, "second"));
  EXPECT_THAT(receive(*reader), EndsWith(": second"));
}

}  // namespace
}  // namespace remapfs::cli
