// SPDX-License-Identifier: Apache-2.0
#include "remapfs/error.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace remapfs {

std::string_view to_string(Errc code) {
  switch (code) {
    case Errc::media: return "media";
    case Errc::timeout: return "timeout";
    case Errc::transport: return "transport";
    case Errc::device_gone: return "device_gone";
    case Errc::device_other: return "device_other";
    case Errc::no_space: return "no_space";
    case Errc::read_only: return "read_only";
    case Errc::lost: return "lost";
    case Errc::suspended: return "suspended";
    case Errc::failed: return "failed";
    case Errc::deadline: return "deadline";
    case Errc::past_end: return "past_end";
    case Errc::unsupported: return "unsupported";
    case Errc::invalid: return "invalid";
    case Errc::not_found: return "not_found";
    case Errc::exists: return "exists";
    case Errc::busy: return "busy";
    case Errc::permission: return "permission";
    case Errc::foreign: return "foreign";
    case Errc::too_new: return "too_new";
    case Errc::stale: return "stale";
    case Errc::corrupt: return "corrupt";
    case Errc::store: return "store";
    case Errc::commit_unknown: return "commit_unknown";
    case Errc::no_memory: return "no_memory";
    case Errc::interrupted: return "interrupted";
  }
  invariant_failed("Errc has a name", __FILE__, __LINE__);
}

std::string describe(const Error& error) {
  if (!error.message.empty()) return error.message;
  std::string text(to_string(error.code));
  if (error.os_errno != 0) {
    text += ": ";
    text += std::strerror(error.os_errno);
  }
  return text;
}

void invariant_failed(const char* condition, const char* file, int line) noexcept {
  std::fprintf(stderr, "remapfs: internal error, %s does not hold (%s:%d)\n", condition, file, line);
  std::abort();
}

}  // namespace remapfs
