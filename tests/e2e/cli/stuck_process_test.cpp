// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "e2e/cli/program.hpp"
#include "e2e/cli/workspace.hpp"
#include "io/busy_users.hpp"

namespace remapfs::e2e {
namespace {

using namespace std::chrono_literals;

// Files of /proc that do not answer, as those of a process that waits for a hung file system in exec(): here they lie
// on a disk whose reads hang.
class StuckProcess : public Workspace {
 protected:
  StuckProcess() {
    views_.proc = dir_ / "proc";
    EXPECT_EQ(faulty_disk({"mount", primary_, mnt_}).exit_code, 0);
    EXPECT_EQ(faulty_disk({"set", mnt_, "sectors=all,op=read,slow=100s"}).exit_code, 0);
  }
  ~StuckProcess() override { faulty_disk({"clear", mnt_}); }
  static Ran faulty_disk(std::vector<std::string> args) {
    args.insert(args.begin(), REMAPFS_FAULTY_DISK);
    return run_program(args);
  }
  void add(const std::string& pid, const std::string& maps) {
    const std::string process = views_.proc + "/" + pid;
    std::filesystem::create_directories(process);
    std::ofstream(process + "/comm") << "name" << pid << "\n";
    if (maps.empty()) {
      std::filesystem::create_symlink(disk_, process + "/maps");
    } else {
      std::ofstream(process + "/maps") << maps;
    }
  }
  KernelViews views_;
};

TEST_F(StuckProcess, StopsNobodyWhoAsksForUsersAndCountsAsOne) {
  const std::string used = dir_ / "used";
  std::ofstream(used) << "x";
  struct stat info {};
  ASSERT_EQ(::stat(used.c_str(), &info), 0);
  add("100", "7f00-7f01 r--p 00000000 00:01 1 /other\n");
  add("200", "");
  add("300", "");
  add("400", fmt::format("7f00-7f01 r--p 00000000 {:02x}:{:02x} {} {}\n", gnu_dev_major(info.st_dev),
                         gnu_dev_minor(info.st_dev), info.st_ino, used));
  const auto start = std::chrono::steady_clock::now();
  const auto users = busy_users(used, views_);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 20s);
  const std::vector<BusyUser> wanted = {{"name200", 200}, {"name300", 300}, {"name400", 400}};
  EXPECT_EQ(users, wanted) << describe(users);
}

}  // namespace
}  // namespace remapfs::e2e
