// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

// One error type for everything below the command line. Failures are values; exceptions never steer.

namespace remapfs {

// What went wrong, by what the caller can do about it. The kind of a device error is decided once, in io/, from errno
// (see classify_errno there); fuse/ turns kinds back into errno in one exhaustive switch.
enum class Errc {
  // Device errors.
  media,         // a sector cannot be read or written: EIO, ENODATA, and EILSEQ (integrity)
  timeout,       // ETIMEDOUT, EREMOTEIO: a media error if other blocks of the device still work
  transport,     // ENOLINK: the path to the device failed
  device_gone,   // ENXIO, ENODEV, or a short transfer inside the device: it vanished or shrank
  device_other,  // any other errno from a device; says nothing about a sector
  no_space,      // ENOSPC, EDQUOT below us, or no slot left
  read_only,     // EROFS, or a volume mounted read-only
  // Volume answers.
  lost,         // the range holds a sector whose data is lost
  suspended,    // a breaker is open: the device is missing or fails everywhere
  failed,       // a sync failed or a commit's outcome is unknown; only resume or remount goes on
  deadline,     // the time budget of a request ran out
  past_end,     // beyond the end of the virtual disk
  unsupported,  // not offered here, nothing was changed
  // Management answers.
  invalid,         // wrong argument
  not_found,       // no such file, block, entry
  exists,          // it is already there
  busy,            // in use by another process
  permission,      // not allowed
  foreign,         // not one of ours, or another volume's
  too_new,         // made by a newer program
  stale,           // an earlier copy put back
  corrupt,         // damaged or inconsistent
  store,           // the map could not be read or written; nothing was changed
  commit_unknown,  // a commit failed with its outcome unknown
  no_memory,
  interrupted,
};

// The name of a kind, as used in events and logs ("media", "device_gone").
[[nodiscard]] std::string_view to_string(Errc code);

// A failure. On the I/O path `message` stays empty and nothing is allocated; management errors carry
// "what, where, what to do", ready to be printed after "remapfs: ".
struct Error {
  Errc code = Errc::invalid;
  int os_errno = 0;  // 0 when no system call was involved
  std::string message;
};

template <class T>
using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> fail(Errc code, int os_errno = 0) {
  return tl::unexpected<Error>(Error{code, os_errno, {}});
}
[[nodiscard]] inline tl::unexpected<Error> fail(Errc code, std::string message, int os_errno = 0) {
  return tl::unexpected<Error>(Error{code, os_errno, std::move(message)});
}
[[nodiscard]] inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

// True for an error that speaks of the place that was accessed rather than of the device or the caller: only these may
// create entries, and only after a probe of the device.
[[nodiscard]] inline bool is_media_error(const Error& error) {
  return error.code == Errc::media || error.code == Errc::timeout;
}

// The message if there is one, else the kind and errno in words.
[[nodiscard]] std::string describe(const Error& error);

// Ends the program with a message: a broken invariant, never bad input. Active in release builds too.
[[noreturn]] void invariant_failed(const char* condition, const char* file, int line) noexcept;

}  // namespace remapfs

#define REMAPFS_INVARIANT(condition) \
  ((condition) ? static_cast<void>(0) : ::remapfs::invariant_failed(#condition, __FILE__, __LINE__))
