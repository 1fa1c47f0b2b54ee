// SPDX-License-Identifier: Apache-2.0
#include "fuse/process_hardening.hpp"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <string>

namespace remapfs::fuse {
namespace {

constexpr uid_t kNobody = 65534;

// Hardening is for good: each check runs in a process of its own, and answers with its exit status.
int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::uint64_t locked_kilobytes() {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;) {
    if (word == "VmLck:") {
      std::uint64_t value = 0;
      file >> value;
      return value;
    }
  }
  return 0;
}

int oom_score() {
  std::ifstream file("/proc/self/oom_score_adj");
  int value = 12345;
  file >> value;
  return value;
}

TEST(HardenProcess, ReportsWhatIsReallyInForce) {
  EXPECT_EQ(in_child([] {
              const HardeningReport report = harden_process();
              if (report.lines.size() != 4) return 1;
              if (report.io_flusher != (::prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) == 1)) return 2;
              if (report.memory_locked != (locked_kilobytes() > 0)) return 3;
              if (report.oom_score_adj != oom_score()) return 4;
              return 0;
            }),
            0);
}

TEST(HardenProcess, MemoryIsNotLockedUnderALimit) {
  EXPECT_EQ(in_child([] {
              const rlimit limit{65536, 65536};
              if (::setrlimit(RLIMIT_MEMLOCK, &limit) != 0) return 1;
              if (::geteuid() == 0 && ::setuid(kNobody) != 0) return 2;
              const HardeningReport report = harden_process();
              if (report.memory_locked || locked_kilobytes() != 0) return 3;
              // Refused for want of permission, not tried and failed.
              return report.lines[1].find("CAP_IPC_LOCK") == std::string::npos ? 4 : 0;
            }),
            0);
}

TEST(HardenProcess, MemoryLockCanBeLeftOut) {
  EXPECT_EQ(in_child([] {
              HardeningWishes wishes;
              wishes.lock_memory = false;
              const HardeningReport report = harden_process(wishes);
              return report.memory_locked || locked_kilobytes() != 0 ? 1 : 0;
            }),
            0);
}

TEST(HardenProcess, GrantedScoreIsSetAndSaidSo) {
  EXPECT_EQ(in_child([] {
              HardeningWishes wishes;
              wishes.lock_memory = false;
              wishes.oom_score_adj = 500;  // raising one's own score is always allowed
              const HardeningReport report = harden_process(wishes);
              if (oom_score() != 500 || report.oom_score_adj != 500) return 1;
              return report.lines[2] == "oom score 500: granted" ? 0 : 2;
            }),
            0);
}

std::uint64_t capabilities(const std::string& set) {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;) {
    std::uint64_t value = 0;
    if (word == set && file >> std::hex >> value) return value;
  }
  return ~std::uint64_t{0};
}

// What was granted before is reported as before, also when a process does it again, as its children do.
TEST(HardenProcess, OnlyTheCapabilitiesThatServingTakesAreKept) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root has capabilities to give up";
  EXPECT_EQ(in_child([] {
              std::uint64_t wanted = 0;
              for (const unsigned capability : {CAP_SYS_ADMIN, CAP_IPC_LOCK, CAP_SYS_RESOURCE, CAP_DAC_OVERRIDE,
                                                CAP_CHOWN, CAP_FOWNER, CAP_SYS_PTRACE}) {
                wanted |= std::uint64_t{1} << capability;
              }
              wanted &= capabilities("CapPrm:");
              const bool bounds = (capabilities("CapEff:") >> CAP_SETPCAP & 1U) != 0;
              if ((capabilities("CapPrm:") & ~wanted) == 0) return 1;  // there is nothing to be seen here
              const HardeningReport first = harden_process();
              for (const char* set : {"CapEff:", "CapPrm:"}) {
                if (capabilities(set) != wanted) return 2;
              }
              if (bounds && (capabilities("CapBnd:") & ~wanted) != 0) return 3;
              if (::socket(AF_PACKET, SOCK_RAW, 0) >= 0) return 4;
              return harden_process().lines == first.lines ? 0 : 5;
            }),
            0);
}

TEST(HardenProcess, WhoHasNoCapabilitiesIsToldSo) {
  EXPECT_EQ(in_child([] {
              if (::geteuid() == 0 && ::setuid(kNobody) != 0) return 1;
              return harden_process().lines.back() == "capabilities: none held" ? 0 : 2;
            }),
            0);
}

}  // namespace
}  // namespace remapfs::fuse
