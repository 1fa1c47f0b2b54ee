// SPDX-License-Identifier: Apache-2.0
#include "cli/service_manager.hpp"

#include <gtest/gtest.h>

#include "support/temp_dir.hpp"
#include "unit/cli/notify_socket.hpp"

namespace remapfs::cli {
namespace {

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
