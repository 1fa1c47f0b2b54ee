// SPDX-License-Identifier: Apache-2.0
#include "control/server.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <future>
#include <thread>

#include "control/client.hpp"
#include "support/temp_dir.hpp"
#include "unit/control/block_ranges.hpp"
#include "unit/control/fake_target.hpp"

namespace remapfs {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

class ControlServerTest : public ::testing::Test {
 protected:
  void start(ControlServerOptions options = {}) {
    auto started = ControlServer::start(path_, target_, options);
    ASSERT_TRUE(started) << describe(started.error());
    server_ = std::move(*started);
  }

  [[nodiscard]] Result<ControlClient> connect() const { return ControlClient::connect(std::span(&path_, 1)); }

  // A connection that speaks whatever the test likes.
  [[nodiscard]] LineChannel raw() const {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return LineChannel(std::move(socket));
  }

  static Completion last_line(LineChannel& channel) {
    for (;;) {
      auto line = channel.read_line(kMaxReplyBytes, 20s);
      if (!line || !*line) return {fail(Errc::device_other, "connection ended"), 0};
      auto reply = decode_reply(**line);
      if (!reply) return {fail(reply.error()), 0};
      if (reply->completion) return *reply->completion;
    }
  }

  void expect_alive() const {
    auto client = connect();
    ASSERT_TRUE(client) << describe(client.error());
    EXPECT_TRUE(client->status());
  }

  testing::TempDir dir_;
  std::string path_ = dir_ / "v.sock";
  testing::FakeTarget target_;
  std::unique_ptr<ControlServer> server_;
};

TEST_F(ControlServerTest, AnswersStatus) {
  target_.on_status = [] {
    StatusReport report;
    report.info.uuid = "abc";
    report.mounted = true;
    return report;
  };
  start();
  const auto status = connect()->status();
  ASSERT_TRUE(status) << describe(status.error());
  EXPECT_EQ((*status)["volume"]["uuid"], "abc");
  EXPECT_EQ((*status)["mounted"], true);
}

TEST_F(ControlServerTest, FileNamesThatAreNotUtf8DoNotBreakTheAnswer) {
  target_.on_status = [] {
    StatusReport report;
    report.info.map_path = "/\xff\xfe";
    return report;
  };
  start();
  EXPECT_TRUE(connect()->status());
}

TEST_F(ControlServerTest, ReportsEveryBlockAsItGoes) {
  // The second block waits until the client has seen the first one's line.
  std::promise<void> first_seen;
  target_.on_apply = [&](Verb, BlockIndex block) -> Result<Outcome> {
    if (block.value() == 6 && first_seen.get_future().wait_for(20s) != std::future_status::ready) {
      return fail(Errc::timeout);
    }
    if (block.value() == 7) return fail(Errc::lost, "seven is lost");
    return Outcome::already;
  };
  start();
  std::vector<std::uint64_t> seen;
  const auto completion = connect()->ask({Verb::add, {blocks(5, 8)}}, [&](const BlockReport& report) {
    if (seen.empty()) first_seen.set_value();
    seen.push_back(report.block.value());
    const std::string expected = report.block.value() == 7 ? "seven is lost" : "";
    EXPECT_EQ(report.result ? "" : report.result.error().message, expected);
  });
  ASSERT_TRUE(completion);
  EXPECT_TRUE(completion->result);
  EXPECT_EQ(completion->failed, 1U);
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{5, 6, 7}));
}

TEST_F(ControlServerTest, PassesErrorsOfTheTargetOn) {
  target_.on_unmount = []() -> Result<Outcome> { return fail(Errc::busy, "in use by cat (12)"); };
  target_.on_resume = []() -> Result<Outcome> { return fail(Errc::device_gone, ENXIO); };
  start();
  const auto unmounted = connect()->ask({Verb::unmount, {}});
  ASSERT_TRUE(unmounted);
  EXPECT_EQ(unmounted->result.error().code, Errc::busy);
  EXPECT_EQ(unmounted->result.error().message, "in use by cat (12)");
  const auto resumed = connect()->ask({Verb::resume, {}});
  ASSERT_TRUE(resumed);
  EXPECT_EQ(resumed->result.error().code, Errc::device_gone);
  EXPECT_FALSE(resumed->result.error().message.empty());
}

TEST_F(ControlServerTest, SocketIsPrivate) {
  const mode_t before = ::umask(0);
  start();
  ::umask(before);
  struct stat info {};
  ASSERT_EQ(::lstat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600U);
}

TEST_F(ControlServerTest, StrangersAreTurnedAway) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  start();
  // Even when the file modes are opened up.
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0755), 0);
  ASSERT_EQ(::chmod(path_.c_str(), 0666), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setuid(65534) != 0) ::_exit(9);
    auto client = ControlClient::connect(std::span(&path_, 1));
    if (!client) ::_exit(8);
    const auto status = client->status();
    ::_exit(!status && status.error().code == Errc::permission ? 0 : 1);
  }
  int result = -1;
  ASSERT_EQ(::waitpid(child, &result, 0), child);
  EXPECT_EQ(result, 0);
  EXPECT_TRUE(target_.asked().empty());
}

TEST_F(ControlServerTest, GarbageCostsOnlyItsOwnConnection) {
  start();
  for (const std::string& garbage :
       {std::string("hello\n"), std::string("\n"), std::string("\0\0\0\n", 4), std::string("{\"verb\":\n"),
        std::string(R"({"protocol":9,"verb":"status"})") + "\n", std::string(200000, '[') + "\n"}) {
    LineChannel channel = raw();
    ASSERT_TRUE(channel.write_line(garbage.substr(0, garbage.size() - 1), 20s));
    EXPECT_FALSE(last_line(channel).result) << garbage.substr(0, 40);
  }
  expect_alive();
}

TEST_F(ControlServerTest, RequestLongerThanItsBoundIsRefused) {
  start();
  LineChannel channel = raw();
  // The server stops reading at the bound, so that the rest may not go out.
  std::ignore = channel.write_line(std::string(kMaxRequestBytes + 1, ' '), 20s);
  const auto completion = last_line(channel);
  ASSERT_FALSE(completion.result);
  EXPECT_EQ(completion.result.error().code, Errc::invalid);
  expect_alive();
}

TEST_F(ControlServerTest, ClientThatSaysNothingIsDropped) {
  start({.max_connections = 4, .request_timeout = 50ms});
  LineChannel channel = raw();
  const auto completion = last_line(channel);
  ASSERT_FALSE(completion.result);
  EXPECT_EQ(completion.result.error().code, Errc::timeout);
}

TEST_F(ControlServerTest, ClientThatLeavesWithoutARequestIsNothing) {
  start();
  for (int i = 0; i < 100; ++i) std::ignore = raw();
  // Connections that have ended make room again.
  for (int i = 0; i < 100; ++i) {
    auto client = connect();
    ASSERT_TRUE(client);
    if (client->status()) return;
    std::this_thread::yield();
  }
  FAIL() << "no room was made";
}

TEST_F(ControlServerTest, MoreConnectionsThanAllowedAreToldSo) {
  start({.max_connections = 2});
  const LineChannel one = raw();
  const LineChannel two = raw();
  const auto status = connect()->status();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Errc::busy);
}

TEST_F(ControlServerTest, VerbEndsWhenItsClientLeaves) {
  target_.blocks = ~std::uint64_t{0};
  std::promise<void> left;
  auto has_left = left.get_future().share();
  target_.on_apply = [&](Verb, BlockIndex block) -> Result<Outcome> {
    if (block.value() == 3) has_left.wait_for(20s);
    return Outcome::done;
  };
  start();
  {
    LineChannel channel = raw();
    ASSERT_TRUE(channel.write_line(encode(Request{Verb::retest, {blocks(0, ~std::uint64_t{0})}}), 20s));
    ASSERT_TRUE(target_.wait_asked(4));
  }
  left.set_value();
  server_->stop();
  EXPECT_LE(target_.asked().size(), 5U);
}

TEST_F(ControlServerTest, ClientThatDoesNotReadIsCutOff) {
  target_.blocks = ~std::uint64_t{0};
  start({.max_connections = 1, .reply_timeout = 50ms});
  LineChannel channel = raw();
  ASSERT_TRUE(channel.write_line(encode(Request{Verb::add, {blocks(0, ~std::uint64_t{0})}}), 20s));
  // The one connection becomes free although its client still holds it.
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  bool answered = false;
  while (!answered && std::chrono::steady_clock::now() < deadline) {
    auto client = connect();
    answered = client && client->status();
  }
  EXPECT_TRUE(answered);
}

TEST_F(ControlServerTest, StopEndsRunningVerbsAtTheNextBlockAndSaysSo) {
  target_.blocks = ~std::uint64_t{0};
  start();
  auto asking = std::async(std::launch::async, [&] {
    auto client = connect();
    return client->ask({Verb::retest, {blocks(0, ~std::uint64_t{0})}});
  });
  ASSERT_TRUE(target_.wait_asked(10));
  server_->stop();
  const auto completion = asking.get();
  ASSERT_TRUE(completion) << describe(completion.error());
  ASSERT_FALSE(completion->result);
  EXPECT_EQ(completion->result.error().code, Errc::interrupted);
}

TEST_F(ControlServerTest, StopSendsAnswersThatAreDue) {
  std::promise<void> entered;
  std::promise<void> go;
  target_.on_unmount = [&]() -> Result<Outcome> {
    entered.set_value();
    go.get_future().wait_for(20s);
    return Outcome::done;
  };
  start();
  auto asking = std::async(std::launch::async, [&] { return connect()->ask({Verb::unmount, {}}); });
  entered.get_future().wait();
  auto stopping = std::async(std::launch::async, [&] { server_->stop(); });
  go.set_value();
  const auto completion = asking.get();
  ASSERT_TRUE(completion) << describe(completion.error());
  EXPECT_TRUE(completion->result);
}

TEST_F(ControlServerTest, StopRemovesTheSocketAndEndsIdleClients) {
  start();
  const LineChannel idle = raw();
  server_->stop();
  EXPECT_EQ(::access(path_.c_str(), F_OK), -1);
  const auto client = connect();
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, Errc::not_found);
}

TEST_F(ControlServerTest, SocketOfACrashedDaemonIsReplaced) {
  const pid_t child = ::fork();
  if (child == 0) {
    auto server = ControlServer::start(path_, target_);
    ::_exit(server ? 0 : 1);  // without removing the file
  }
  int result = -1;
  ASSERT_EQ(::waitpid(child, &result, 0), child);
  ASSERT_EQ(result, 0);
  ASSERT_EQ(::access(path_.c_str(), F_OK), 0);
  const auto refused = connect();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::not_found);
  start();
  expect_alive();
  ControlClient::remove_stale_socket(path_);
  expect_alive();
}

TEST_F(ControlServerTest, LiveDaemonIsNotReplaced) {
  start();
  testing::FakeTarget other;
  const auto second = ControlServer::start(path_, other);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::busy);
  expect_alive();
}

TEST_F(ControlServerTest, SomethingElseAtThePathIsLeftAlone) {
  const UniqueFd file(::open(path_.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  ASSERT_TRUE(file);
  const auto started = ControlServer::start(path_, target_);
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, Errc::exists);
  EXPECT_EQ(::access(path_.c_str(), F_OK), 0);
}

TEST_F(ControlServerTest, PathTooLongForASocketIsAnError) {
  path_ = dir_ / std::string(120, 'x');
  const auto started = ControlServer::start(path_, target_);
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, Errc::invalid);
  EXPECT_THAT(started.error().message, HasSubstr("XDG_RUNTIME_DIR"));
}

TEST_F(ControlServerTest, SocketThatIsNoLongerOursIsNotRemoved) {
  start();
  ASSERT_EQ(::unlink(path_.c_str()), 0);
  testing::FakeTarget other;
  auto second = ControlServer::start(path_, other);
  ASSERT_TRUE(second);
  server_->stop();
  expect_alive();
}

TEST_F(ControlServerTest, DaemonThatDiesInTheMiddleIsAnErrorNotSilence) {
  target_.on_apply = [](Verb, BlockIndex) -> Result<Outcome> { ::_exit(0); };
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto server = ControlServer::start(path_, target_);
    ::close(ready[1]);
    ::pause();
  }
  ::close(ready[1]);
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 0);
  ::close(ready[0]);
  auto client = connect();
  ASSERT_TRUE(client);
  const auto completion = client->ask({Verb::add, {blocks(0, 1)}});
  ASSERT_FALSE(completion);
  EXPECT_EQ(completion.error().code, Errc::device_other);
  EXPECT_EQ(client->daemon_pid(), child);
  EXPECT_TRUE(client->wait_for_exit(20s));
  ::waitpid(child, nullptr, 0);
}

TEST_F(ControlServerTest, ManyClientsAtOnceAreAllServed) {
  start({.max_connections = 64});
  std::vector<std::future<std::uint64_t>> asking;
  for (int i = 0; i < 8; ++i) {
    asking.push_back(std::async(std::launch::async, [&] {
      std::uint64_t lines = 0;
      for (int round = 0; round < 20; ++round) {
        auto client = connect();
        if (!client) continue;
        std::ignore = client->ask({Verb::retest, {blocks(0, 50)}}, [&](const BlockReport&) { ++lines; });
      }
      return lines;
    }));
  }
  for (auto& one : asking) EXPECT_EQ(one.get(), 1000U);
}

}  // namespace
}  // namespace remapfs
