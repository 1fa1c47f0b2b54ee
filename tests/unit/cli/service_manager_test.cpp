// SPDX-License-Identifier: Apache-2.0
#include "cli/service_manager.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>

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

TEST(ServiceManager, IsToldOverASocketFile) {
  const remapfs::testing::TempDir dir;
  const UniqueFd manager = listen_at(dir / "notify");
  notify_service_manager(dir / "notify", "READY=1\nSTATUS=x");
  EXPECT_EQ(receive(manager), "READY=1\nSTATUS=x");
}

TEST(ServiceManager, IsToldOverAnAbstractSocket) {
  const std::string name = "@remapfs-test-" + std::to_string(::getpid());
  const UniqueFd manager = listen_at(name);
  notify_service_manager(name, "READY=1");
  EXPECT_EQ(receive(manager), "READY=1");
}

TEST(ServiceManager, ThatIsNotThereIsNoHindrance) {
  notify_service_manager("", "READY=1");
  notify_service_manager("/nonexistent/notify", "READY=1");
  notify_service_manager("relative", "READY=1");
  notify_service_manager("/" + std::string(300, 'x'), "READY=1");
}

}  // namespace
}  // namespace remapfs::cli
