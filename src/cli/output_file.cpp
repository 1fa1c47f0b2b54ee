// SPDX-License-Identifier: Apache-2.0
#include "cli/output_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace remapfs::cli {
namespace {

constexpr int kDraftNames = 100;

Error cannot_write(const std::string& path, int error) {
  const bool full = error == ENOSPC || error == EDQUOT;
  const Errc code = full                                  ? Errc::no_space
                    : error == EACCES || error == EPERM   ? Errc::permission
                    : error == ENOENT || error == ENOTDIR ? Errc::not_found
                                                          : Errc::device_other;
  return {code, error,
          fmt::format("cannot write it, {} ({}), {}", path, std::strerror(error),
                      full ? "make room or name another file" : "check the folder or name another file")};
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string draft_name(const std::string& path, int attempt) {
  return fmt::format("{}.new-{}-{}", path, ::getpid(), attempt);
}

}  // namespace

Result<std::unique_ptr<OutputFile>> OutputFile::create(const std::string& path, Readers readers) {
  struct stat present {};
  const bool is_there = ::lstat(path.c_str(), &present) == 0;
  if (is_there && !S_ISREG(present.st_mode)) {
    return fail(Errc::exists, fmt::format("something else than a file has this name, {}, name another file", path));
  }
  const mode_t mode = readers == Readers::owner ? 0600 : 0666;
  // Without a name nothing is left behind, however this ends. Some file systems cannot do it.
  UniqueFd file(::open(folder_of(path).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, mode));
  std::string draft;
  for (int attempt = 0; !file && attempt < kDraftNames && (errno == EOPNOTSUPP || errno == EISDIR || errno == EEXIST);
       ++attempt) {
    draft = draft_name(path, attempt);
    file = UniqueFd(::open(draft.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, mode));
  }
  if (!file) return fail(cannot_write(path, errno));
  std::unique_ptr<OutputFile> output(new OutputFile(path, std::move(file), std::move(draft)));
  if (!is_there || present.st_uid != ::geteuid()) return output;
  // The group's permissions are for the group that it had.
  const bool same_group = ::fchown(output->file_.get(), static_cast<uid_t>(-1), present.st_gid) == 0;
  const mode_t kept = present.st_mode & (same_group ? 0777U : 0700U);
  if (::fchmod(output->file_.get(), kept) != 0) return fail(cannot_write(path, errno));
  return output;
}

OutputFile::~OutputFile() {
  if (!draft_.empty()) ::unlink(draft_.c_str());
}

Result<void> OutputFile::commit() {
  stream_.flush();
  if (!stream_) return fail(cannot_write(path_, buffer_.error() != 0 ? buffer_.error() : EIO));
  if (::fsync(file_.get()) != 0) return fail(cannot_write(path_, errno));
  const std::string open_file = fmt::format("/proc/self/fd/{}", file_.get());
  for (int attempt = 0; draft_.empty() && attempt < kDraftNames; ++attempt) {
    const std::string name = draft_name(path_, attempt);
    if (::linkat(AT_FDCWD, open_file.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0) {
      draft_ = name;
    } else if (errno != EEXIST) {
      return fail(cannot_write(path_, errno));
    }
  }
  if (draft_.empty()) return fail(cannot_write(path_, EEXIST));
  if (::rename(draft_.c_str(), path_.c_str()) != 0) return fail(cannot_write(path_, errno));
  draft_.clear();
  const UniqueFd folder(::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::fsync(folder.get()) != 0) return fail(cannot_write(path_, errno));
  return {};
}

OutputFile::Buffer::int_type OutputFile::Buffer::overflow(int_type c) {
  if (sync() != 0) return traits_type::eof();
  if (!traits_type::eq_int_type(c, traits_type::eof())) {
    *pptr() = traits_type::to_char_type(c);
    pbump(1);
  }
  return traits_type::not_eof(c);
}

int OutputFile::Buffer::sync() {
  for (const char* at = pbase(); at < pptr();) {
    const ssize_t written = ::write(descriptor_, at, static_cast<std::size_t>(pptr() - at));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      error_ = written < 0 ? errno : EIO;
      return -1;
    }
    at += written;
  }
  setp(bytes_.data(), bytes_.data() + bytes_.size());
  return 0;
}

}  // namespace remapfs::cli
