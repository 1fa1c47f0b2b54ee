// SPDX-License-Identifier: Apache-2.0
#include "fuse/process_hardening.hpp"

#include <cap-ng.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

#include "core/unique_fd.hpp"

// Linux 5.6; older C libraries lack them.
#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#define PR_GET_IO_FLUSHER 58
#endif

namespace remapfs::fuse {

namespace {

// The default of 8 MiB for each thread would be most of a daemon.
constexpr std::size_t kThreadStackBytes = std::size_t{1} << 20U;
constexpr const char* kOomScoreFile = "/proc/self/oom_score_adj";

std::string reason(int error) { return std::strerror(error); }

bool may_lock_everything() {
  if (capng_get_caps_process() == 0 && capng_have_capability(CAPNG_EFFECTIVE, CAP_IPC_LOCK) != 0) return true;
  rlimit limit{};
  return getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY;
}

int write_oom_score(int score) {
  const UniqueFd file(::open(kOomScoreFile, O_WRONLY | O_CLOEXEC));
  if (!file) return errno;
  const std::string text = std::to_string(score);
  return ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : errno;
}

int read_oom_score() {
  const UniqueFd file(::open(kOomScoreFile, O_RDONLY | O_CLOEXEC));
  std::array<char, 32> text{};
  const ssize_t length = file ? ::read(file.get(), text.data(), text.size()) : 0;
  int score = 0;
  if (length > 0) std::from_chars(text.data(), text.data() + length, score);
  return score;
}

// What serving a volume takes when root does it.
constexpr capng_type_t kHeld = static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED);
constexpr std::array<unsigned, 7> kNeededCapabilities = {
    CAP_SYS_ADMIN,     // unmounting
    CAP_IPC_LOCK,      // memory locked later, buffers of io_uring
    CAP_SYS_RESOURCE,  // reading back that we are an IO flusher
    CAP_DAC_OVERRIDE,  // a map in another user's folder
    CAP_CHOWN,         // its log belongs to the map's owner
    CAP_FOWNER,        // and is removed from a sticky folder
    CAP_SYS_PTRACE,    // naming who keeps a volume busy
};

// The line for the report. Of the calling thread, and of those it starts later.
std::string drop_capabilities() {
  if (capng_get_caps_process() != 0) return "capabilities: not dropped (they cannot be read)";
  if (capng_have_capabilities(CAPNG_SELECT_CAPS) == CAPNG_NONE) return "capabilities: none held";
  std::string kept;
  std::array<bool, kNeededCapabilities.size()> held{};
  for (std::size_t i = 0; i < held.size(); ++i)
    held[i] = capng_have_capability(CAPNG_PERMITTED, kNeededCapabilities[i]) != 0;
  // Programs run later (the one of an upgrade) cannot have more either, where the bounding set may be changed.
  const bool bounding = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) != 0;
  const capng_select_t set = bounding ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS;
  const auto add_to = static_cast<capng_type_t>(kHeld | (bounding ? CAPNG_BOUNDING_SET : 0));
  capng_clear(set);
  for (std::size_t i = 0; i < held.size(); ++i) {
    if (!held[i] || capng_update(CAPNG_ADD, add_to, kNeededCapabilities[i]) != 0) continue;
    kept += kept.empty() ? "" : ", ";
    kept += capng_capability_to_name(kNeededCapabilities[i]);
  }
  if (capng_apply(set) != 0) return "capabilities: not dropped (" + reason(errno) + ")";
  return "capabilities: " + (kept.empty() ? "none" : kept);
}

}  // namespace

HardeningReport harden_process(const HardeningWishes& wishes) {
  HardeningReport report;

  const int flusher_error = prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == 0 ? 0 : errno;
  report.io_flusher = prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) == 1;
  report.lines.push_back(report.io_flusher ? "io flusher: granted"
                                           : "io flusher: not granted (" + reason(flusher_error) + ")");

  if (!wishes.lock_memory) {
    report.lines.emplace_back("memory lock: not asked for");
  } else if (!may_lock_everything()) {
    report.lines.emplace_back("memory lock: not granted (needs CAP_IPC_LOCK or an unlimited RLIMIT_MEMLOCK)");
  } else {
    report.memory_locked = mlockall(MCL_CURRENT | MCL_FUTURE) == 0;
    report.lines.push_back(report.memory_locked ? "memory lock: granted"
                                                : "memory lock: not granted (" + reason(errno) + ")");
  }

  const int oom_error = write_oom_score(wishes.oom_score_adj);
  report.oom_score_adj = read_oom_score();
  report.lines.push_back(report.oom_score_adj == wishes.oom_score_adj
                             ? "oom score " + std::to_string(wishes.oom_score_adj) + ": granted"
                             : "oom score " + std::to_string(wishes.oom_score_adj) + ": not granted (" +
                                   reason(oom_error) + "), stays " + std::to_string(report.oom_score_adj));

  report.lines.push_back(drop_capabilities());
  return report;
}

void limit_thread_stacks() {
  pthread_attr_t attributes;
  if (::pthread_attr_init(&attributes) != 0) return;
  if (::pthread_attr_setstacksize(&attributes, kThreadStackBytes) == 0) ::pthread_setattr_default_np(&attributes);
  ::pthread_attr_destroy(&attributes);
}

}  // namespace remapfs::fuse
