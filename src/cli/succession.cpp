// SPDX-License-Identifier: Apache-2.0
#include "cli/succession.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "cli/process.hpp"
#include "cli/run_program.hpp"
#include "cli/stands_on.hpp"
#include "cli/world.hpp"

extern char** environ;

namespace remapfs::cli {
namespace {

constexpr std::chrono::seconds kTrialPatience{10};
constexpr const char* kThisProgram = "/proc/self/exe";

// posix_spawn() with these descriptors open in the child, under the same numbers.
Result<pid_t> spawn(const std::string& program, const std::vector<std::string>& words,
                    const std::vector<int>& descriptors) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // To itself: stays open on exec (glibc since 2.29).
  for (const int descriptor : descriptors) posix_spawn_file_actions_adddup2(&actions, descriptor, descriptor);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
  const std::vector<char*> argv = argv_of(words);
  pid_t child = -1;
  const int error = ::posix_spawn(&child, program.c_str(), &actions, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return fail(error == ENOMEM ? Errc::no_memory : Errc::device_other,
                fmt::format("cannot run it, {} ({}), check the program", program, std::strerror(error)), error);
  }
  return child;
}

}  // namespace

Result<void> check_successor(const std::string& program, const SharedHandover& handover, const MountRecord& record,
                             const KernelViews& views) {
  struct stat status {};
  if (::stat(program.c_str(), &status) != 0 || !S_ISREG(status.st_mode) || ::access(program.c_str(), X_OK) != 0) {
    return fail(Errc::invalid, fmt::format("not a program, {}, name the remapfs that is to go on", program));
  }
  if (stands_on_disk(program, record.mount_point, views)) {
    return fail(Errc::unsupported,
                fmt::format("stored on the volume itself, {}, it could not be read while nobody serves it: run one "
                            "that is stored elsewhere",
                            program));
  }
  const auto child =
      spawn(program, {"remapfs", kGoOnVerb, kRoleTry, record.spec.map_path, std::to_string(handover.descriptor())},
            {handover.descriptor()});
  if (!child) return fail(child.error());
  const bool answered = has_ended(open_process(*child), kTrialPatience);
  if (!answered) ::kill(*child, SIGKILL);
  int outcome = 0;
  while (::waitpid(*child, &outcome, 0) < 0 && errno == EINTR) {
  }
  if (!answered) return fail(Errc::timeout, fmt::format("does not answer, {}, name another remapfs", program));
  if (WIFEXITED(outcome) && WEXITSTATUS(outcome) == kExitDone) return {};
  return fail(Errc::invalid,
              fmt::format("cannot go on with this mount, {}, unmount and mount with it instead", program));
}

Result<pid_t> start_keeper(const SharedHandover& handover, const MountRecord& record,
                           const std::vector<int>& descriptors, const KernelViews& views) {
  std::array<char, PATH_MAX> path{};
  const ssize_t length = ::readlink(kThisProgram, path.data(), path.size() - 1);
  if (length > 0 && stands_on_disk({path.data(), static_cast<std::size_t>(length)}, record.mount_point, views)) {
    return fail(Errc::unsupported, "this program is stored on the volume itself");
  }
  std::vector<std::string> words{"remapfs", kGoOnVerb, kRoleKeep, record.spec.map_path,
                                 std::to_string(handover.descriptor())};
  std::vector<int> open{handover.descriptor()};
  for (const int descriptor : descriptors) {
    words.push_back(std::to_string(descriptor));
    open.push_back(descriptor);
  }
  return spawn(kThisProgram, words, open);
}

void become_go_on(const char* program, const char* role, const char* map_path, std::span<const int> descriptors) {
  std::array<std::array<char, 12>, kMostGoOnDescriptors> numbers;
  std::array<const char*, kMostGoOnDescriptors + 5> words{"remapfs", kGoOnVerb, role, map_path};
  for (std::size_t i = 0; i < descriptors.size(); ++i) {
    ::fcntl(descriptors[i], F_SETFD, 0);
    std::snprintf(numbers[i].data(), numbers[i].size(), "%d", descriptors[i]);
    words[4 + i] = numbers[i].data();
  }
  ::execv(program, const_cast<char* const*>(words.data()));  // which changes none of them
}

}  // namespace remapfs::cli
