// SPDX-License-Identifier: Apache-2.0
#include "fuse/operations.hpp"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <limits>
#include <string_view>

#include "fuse/errno_map.hpp"
#include "fuse/job.hpp"
#include "fuse/request_rules.hpp"
#include "fuse/session.hpp"

// Linux 6.2; older headers lack it, older kernels ignore it.
#ifndef FOPEN_PARALLEL_DIRECT_WRITES
#define FOPEN_PARALLEL_DIRECT_WRITES (1 << 6)
#endif

namespace remapfs::fuse {

namespace {

constexpr const char* kDiskName = "disk";
// Names and sizes never change, and other attributes only through us. The kernel forgets the times itself after a
// write.
constexpr double kKeepSeconds = 86400.0;
constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;

std::int64_t now() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &time);
  return std::int64_t{time.tv_sec} * kNanosecondsPerSecond + time.tv_nsec;
}

timespec to_timespec(std::int64_t time) {
  std::int64_t seconds = time / kNanosecondsPerSecond;
  std::int64_t rest = time % kNanosecondsPerSecond;
  if (rest < 0) {  // before 1970
    --seconds;
    rest += kNanosecondsPerSecond;
  }
  return {seconds, rest};
}
// Times outside the years 1678 to 2261 are moved to the edge.
std::int64_t from_timespec(const timespec& time) {
  constexpr std::int64_t kEdge = std::numeric_limits<std::int64_t>::max() / kNanosecondsPerSecond - 1;
  return std::clamp<std::int64_t>(time.tv_sec, -kEdge, kEdge) * kNanosecondsPerSecond + time.tv_nsec;
}

RequestContext& context(fuse_req_t request) { return *static_cast<RequestContext*>(fuse_req_userdata(request)); }
Operations& operations(fuse_req_t request) { return *static_cast<Operations*>(context(request).service); }

// A reply that cannot be delivered has no one to be told to: the caller is gone or the connection is.
void reply_errno(fuse_req_t request, int error) { static_cast<void>(fuse_reply_err(request, error)); }

void reply(fuse_req_t request, const Result<void>& result) {
  reply_errno(request, result ? 0 : errno_for_caller(result.error().code));
}

void reply_bytes(fuse_req_t request, std::span<const std::byte> bytes) {
  static_cast<void>(fuse_reply_buf(request, reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

void reply_attributes(fuse_req_t request, Operations& self, Operations::Node node) {
  const struct stat status = self.attributes(node);
  static_cast<void>(fuse_reply_attr(request, &status, kKeepSeconds));
}

// What would change names: there is one, and it stays.
int refusal(fuse_req_t request) { return operations(request).disk().read_only() ? EROFS : EPERM; }

void on_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) noexcept {
  Operations& self = operations(request);
  if (self.node(parent) != Operations::Node::directory || std::string_view(name) != kDiskName) {
    return reply_errno(request, ENOENT);
  }
  fuse_entry_param entry{};
  entry.ino = self.disk_inode();
  entry.attr = self.attributes(Operations::Node::disk);
  entry.attr_timeout = kKeepSeconds;
  entry.entry_timeout = kKeepSeconds;
  static_cast<void>(fuse_reply_entry(request, &entry));
}

void on_getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info* /*file*/) noexcept {
  Operations& self = operations(request);
  const auto node = self.node(inode);
  if (node == Operations::Node::none) return reply_errno(request, ENOENT);
  reply_attributes(request, self, node);
}

void on_setattr(fuse_req_t request, fuse_ino_t inode, struct stat* wanted, int to_set, fuse_file_info* file) noexcept {
  Operations& self = operations(request);
  const auto node = self.node(inode);
  if (node != Operations::Node::disk) return reply_errno(request, node == Operations::Node::none ? ENOENT : EPERM);
  VirtualDisk& disk = self.disk();
  if ((to_set & FUSE_SET_ATTR_SIZE) != 0) {
    const int error = judge_truncate(wanted->st_size, file != nullptr, disk.size(), disk.read_only());
    if (error != 0) return reply_errno(request, error);
  }
  self.change_attributes(*wanted, to_set);
  reply_attributes(request, self, node);
}

void on_open(fuse_req_t request, fuse_ino_t inode, fuse_file_info* file) noexcept {
  Operations& self = operations(request);
  if (self.node(inode) != Operations::Node::disk) return reply_errno(request, EISDIR);
  if ((file->flags & O_ACCMODE) != O_RDONLY && self.disk().read_only()) return reply_errno(request, EROFS);
  // By hand: fuse_reply_open() of libfuse 3.14 cannot set FOPEN_PARALLEL_DIRECT_WRITES, without which the kernel sends
  // one write at a time.
  fuse_open_out answer{};
  answer.fh = self.new_handle(file->flags);
  answer.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
  static_cast<void>(fuse_reply_buf(request, reinterpret_cast<const char*>(&answer), sizeof answer));
}

Job new_job(fuse_req_t request, Job::Kind kind) {
  Job job;
  job.kind = kind;
  job.request = request;
  job.begun = std::chrono::steady_clock::now();
  return job;
}

void note_latency(const Job& job, RequestKind kind) { operations(job.request).note_latency(kind, job.begun); }

void on_read(fuse_req_t request, fuse_ino_t inode, std::size_t size, off_t offset, fuse_file_info* /*file*/) noexcept {
  Operations& self = operations(request);
  const std::span<std::byte> payload = context(request).payload;
  if (self.node(inode) != Operations::Node::disk || size > payload.size()) return reply_errno(request, EINVAL);
  const RangeVerdict verdict = judge_read(offset, size, self.disk().size());
  if (verdict.error != 0) return reply_errno(request, verdict.error);
  if (verdict.range.empty()) return reply_bytes(request, {});
  Job job = new_job(request, Job::Kind::read);
  job.range = verdict.range;
  job.memory = payload.data();
  context(request).runner->run(job);
}

void on_write(fuse_req_t request, fuse_ino_t inode, const char* data, std::size_t size, off_t offset,
              fuse_file_info* file) noexcept {
  Operations& self = operations(request);
  VirtualDisk& disk = self.disk();
  if (self.node(inode) != Operations::Node::disk) return reply_errno(request, EINVAL);
  if (disk.read_only()) return reply_errno(request, EROFS);
  const RangeVerdict verdict = judge_write(offset, size, disk.size());
  if (verdict.error != 0) return reply_errno(request, verdict.error);
  if (size == 0) return static_cast<void>(fuse_reply_write(request, 0));
  Job job = new_job(request, Job::Kind::write);
  job.range = verdict.range;
  job.memory = context(request).payload.data();
  REMAPFS_INVARIANT(reinterpret_cast<const char*>(job.memory) == data);
  job.handle = file->fh;
  // Direct I/O of the kernel's own fails as a whole.
  job.remember_failure = (file->flags & O_DIRECT) == 0;
  // O_DSYNC, O_SYNC, RWF_DSYNC and the mount option sync: for direct I/O the kernel leaves the flush to us
  // (fuse_direct_write_iter, Linux 6.18, calls no generic_write_sync) and only passes the flag on.
  job.flush_after = (file->flags & O_DSYNC) != 0;
  context(request).runner->run(job);
}

// close(2) promises nothing; fsync(2) does.
void on_flush(fuse_req_t request, fuse_ino_t /*inode*/, fuse_file_info* /*file*/) noexcept { reply_errno(request, 0); }

void on_fsync(fuse_req_t request, fuse_ino_t /*inode*/, int /*data_only*/, fuse_file_info* file) noexcept {
  Job job = new_job(request, Job::Kind::flush);
  job.handle = file->fh;
  context(request).runner->run(job);
}

void on_fallocate(fuse_req_t request, fuse_ino_t inode, int mode, off_t offset, off_t length,
                  fuse_file_info* file) noexcept {
  Operations& self = operations(request);
  VirtualDisk& disk = self.disk();
  if (self.node(inode) != Operations::Node::disk) return reply_errno(request, EINVAL);
  const FallocateVerdict verdict =
      judge_fallocate(mode, offset, length, disk.size(), disk.can_punch(), disk.read_only());
  if (verdict.action == FallocateAction::refuse) return reply_errno(request, verdict.error);
  if (verdict.action == FallocateAction::nothing) return reply_errno(request, 0);
  self.touch();
  Job job = new_job(request, verdict.action == FallocateAction::zero ? Job::Kind::zero : Job::Kind::punch);
  job.range = verdict.range;
  // FALLOCATE does not carry the flags of the file.
  job.flush_after = file != nullptr && Operations::is_synchronous(file->fh);
  context(request).runner->run(job);
}

void on_lseek(fuse_req_t request, fuse_ino_t inode, off_t offset, int whence, fuse_file_info* /*file*/) noexcept {
  Operations& self = operations(request);
  VirtualDisk& disk = self.disk();
  if (self.node(inode) != Operations::Node::disk) return reply_errno(request, EINVAL);
  if (const int error = judge_seek(offset, whence, disk.size()); error != 0) return reply_errno(request, error);
  Job job = new_job(request, whence == SEEK_DATA ? Job::Kind::seek_data : Job::Kind::seek_hole);
  job.range.begin = ByteOffset(static_cast<std::uint64_t>(offset));
  context(request).runner->run(job);
}

void perform_seek(const Job& job, VirtualDisk& disk) {
  const bool for_data = job.kind == Job::Kind::seek_data;
  const auto found = for_data ? disk.seek_data(job.range.begin) : disk.seek_hole(job.range.begin);
  // The end of a file is a hole, and no data lies behind it: lseek(2).
  std::uint64_t position = disk.size().value();
  if (found) {
    position = std::min(found->value(), position);
  } else if (found.error().code != Errc::not_found && found.error().code != Errc::past_end) {
    return reply_errno(job.request, errno_for_caller(found.error().code));
  }
  if (for_data && position == disk.size().value()) return reply_errno(job.request, ENXIO);
  static_cast<void>(fuse_reply_lseek(job.request, static_cast<off_t>(position)));
}

Result<void> read_whole(VirtualDisk& disk, const Job& job) {
  const std::size_t size = job.range.size().value();
  const auto done = disk.read(job.range.begin, {job.memory, size});
  if (!done) return fail(done.error());
  // Less than asked, inside the disk: the kernel would take it for the end of the file.
  if (*done != size) return fail(Errc::device_other);
  return {};
}

void on_statfs(fuse_req_t request, fuse_ino_t /*inode*/) noexcept {
  const struct statvfs usage = operations(request).usage();
  static_cast<void>(fuse_reply_statfs(request, &usage));
}

void on_opendir(fuse_req_t request, fuse_ino_t inode, fuse_file_info* file) noexcept {
  if (operations(request).node(inode) != Operations::Node::directory) return reply_errno(request, ENOTDIR);
  file->keep_cache = 1;
  file->cache_readdir = 1;
  static_cast<void>(fuse_reply_open(request, file));
}

void on_readdir(fuse_req_t request, fuse_ino_t inode, std::size_t size, off_t offset,
                fuse_file_info* /*file*/) noexcept {
  Operations& self = operations(request);
  if (self.node(inode) != Operations::Node::directory) return reply_errno(request, ENOTDIR);
  struct Name {
    const char* text;
    fuse_ino_t inode;
    mode_t type;
  };
  const std::array<Name, 3> names{
      {{".", FUSE_ROOT_ID, S_IFDIR}, {"..", FUSE_ROOT_ID, S_IFDIR}, {kDiskName, self.disk_inode(), S_IFREG}}};
  std::array<char, 256> listing{};
  const std::size_t room = std::min(size, listing.size());
  std::size_t used = 0;
  // The offset of an entry is the position to go on from: the number of the next one.
  for (auto i = static_cast<std::size_t>(std::max<off_t>(offset, 0)); i < names.size(); ++i) {
    struct stat status {};
    status.st_ino = names[i].inode;
    status.st_mode = names[i].type;
    const std::size_t length = fuse_add_direntry(request, listing.data() + used, room - used, names[i].text, &status,
                                                 static_cast<off_t>(i + 1));
    if (length > room - used) break;
    used += length;
  }
  static_cast<void>(fuse_reply_buf(request, listing.data(), used));
}

void on_release(fuse_req_t request, fuse_ino_t /*inode*/, fuse_file_info* file) noexcept {
  operations(request).failed_handles().forget(file->fh);
  reply_errno(request, 0);
}
void on_releasedir(fuse_req_t request, fuse_ino_t /*inode*/, fuse_file_info* /*file*/) noexcept {
  reply_errno(request, 0);
}
void on_fsyncdir(fuse_req_t request, fuse_ino_t /*inode*/, int /*data_only*/, fuse_file_info* /*file*/) noexcept {
  reply_errno(request, 0);
}

void on_mknod(fuse_req_t request, fuse_ino_t /*parent*/, const char* /*name*/, mode_t /*mode*/,
              dev_t /*device*/) noexcept {
  reply_errno(request, refusal(request));
}
void on_create(fuse_req_t request, fuse_ino_t /*parent*/, const char* /*name*/, mode_t /*mode*/,
               fuse_file_info* /*file*/) noexcept {
  reply_errno(request, refusal(request));
}
void on_mkdir(fuse_req_t request, fuse_ino_t /*parent*/, const char* /*name*/, mode_t /*mode*/) noexcept {
  reply_errno(request, refusal(request));
}
void on_remove(fuse_req_t request, fuse_ino_t /*parent*/, const char* /*name*/) noexcept {
  reply_errno(request, refusal(request));
}
void on_symlink(fuse_req_t request, const char* /*target*/, fuse_ino_t /*parent*/, const char* /*name*/) noexcept {
  reply_errno(request, refusal(request));
}
void on_rename(fuse_req_t request, fuse_ino_t /*parent*/, const char* /*name*/, fuse_ino_t /*new_parent*/,
               const char* /*new_name*/, unsigned /*flags*/) noexcept {
  reply_errno(request, refusal(request));
}
void on_link(fuse_req_t request, fuse_ino_t /*inode*/, fuse_ino_t /*parent*/, const char* /*name*/) noexcept {
  reply_errno(request, refusal(request));
}

// put() stores what the job is about; durably, where it asks for that. A device that was lost and came back meanwhile
// may have lost it again, and told that to somebody else's flush: then it is all done again. before: the disk's
// generation when nothing was stored yet.
template <class Put>
Result<void> store(const Job& job, std::uint64_t before, Put&& put) {
  VirtualDisk& disk = operations(job.request).disk();
  for (;;) {
    auto done = put();
    if (!done || !job.flush_after) return done;
    done = disk.flush();
    const std::uint64_t now = disk.generation();
    if (!done || now == before) return done;
    before = now;
  }
}

}  // namespace

void recover(const Job& job, DirectAccess& access) noexcept {
  const auto carry_out = [&] { return operations(job.request).disk().recover(access, job.memory); };
  finish_transfer(job, job.kind == Job::Kind::read ? carry_out() : store(job, access.generation, carry_out));
}

void perform(const Job& job) noexcept {
  Operations& self = operations(job.request);
  VirtualDisk& disk = self.disk();
  switch (job.kind) {
    case Job::Kind::read: return finish_transfer(job, read_whole(disk, job));
    case Job::Kind::write:
      return finish_transfer(job, store(job, disk.generation(), [&] {
                               return disk.write(job.range.begin, {job.memory, job.range.size().value()});
                             }));
    case Job::Kind::flush: {
      const bool write_failed = self.failed_handles().begin_to_tell(job.handle);
      const auto flushed = disk.flush();
      note_latency(job, RequestKind::flush);
      if (!write_failed) return reply(job.request, flushed);
      reply_errno(job.request, EIO);
      return self.failed_handles().told(job.handle);
    }
    case Job::Kind::zero:
    case Job::Kind::punch: {
      const auto done = store(job, disk.generation(), [&] {
        return job.kind == Job::Kind::zero ? disk.zero(job.range) : disk.punch(job.range);
      });
      note_latency(job, RequestKind::zero);
      return reply(job.request, done);
    }
    case Job::Kind::seek_data:
    case Job::Kind::seek_hole: return perform_seek(job, disk);
  }
}

void finish_transfer(const Job& job, const Result<void>& done) noexcept {
  Operations& self = operations(job.request);
  if (job.kind == Job::Kind::read) {
    note_latency(job, RequestKind::read);
    if (!done) return reply(job.request, done);
    return reply_bytes(job.request, {job.memory, job.range.size().value()});
  }
  if (done) {
    self.touch();
  } else if (job.remember_failure) {
    // Before the answer, after which the fsync may come.
    self.failed_handles().mark(job.handle);
  }
  note_latency(job, RequestKind::write);
  if (!done) return reply(job.request, done);
  static_cast<void>(fuse_reply_write(job.request, job.range.size().value()));
}

Operations::Operations(VirtualDisk& disk, const OperationsOptions& options, MountMemory* memory)
    : disk_(disk),
      options_(options),
      own_memory_(memory == nullptr ? std::make_unique<MountMemory>() : nullptr),
      attributes_((memory == nullptr ? *own_memory_ : *memory).attributes),
      failed_handles_((memory == nullptr ? *own_memory_ : *memory).failed_handles),
      next_handle_(static_cast<std::uint64_t>(now())) {  // another process may have served the same mount before
  if (attributes_.set) return;
  attributes_.uid = options.uid;
  attributes_.gid = options.gid;
  attributes_.mode = options.mode & 0777U;
  const std::int64_t time = now();
  for (auto* const one : {&attributes_.modified, &attributes_.accessed, &attributes_.changed}) *one = time;
  attributes_.set = true;
}

Operations::Node Operations::node(fuse_ino_t inode) const {
  if (inode == disk_inode()) return Node::disk;
  return inode == FUSE_ROOT_ID ? Node::directory : Node::none;
}

struct stat Operations::attributes(Node node) const {
  struct stat status {};
  status.st_uid = attributes_.uid;
  status.st_gid = attributes_.gid;
  status.st_blksize = static_cast<blksize_t>(std::max<std::uint64_t>(options_.block_size, kDefaultBlockSize));
  const std::int64_t modified = attributes_.modified.load(std::memory_order_relaxed);
  status.st_mtim = to_timespec(modified);
  status.st_atim = to_timespec(attributes_.accessed);
  status.st_ctim = to_timespec(std::max(attributes_.changed.load(), modified));
  if (node == Node::directory) {
    status.st_ino = FUSE_ROOT_ID;
    status.st_mode = S_IFDIR | 0555;
    status.st_nlink = 2;
    return status;
  }
  status.st_ino = disk_inode();
  const mode_t mode = attributes_.mode;
  status.st_mode = S_IFREG | (disk_.read_only() ? mode & ~mode_t{0222} : mode);
  status.st_nlink = 1;
  status.st_size = static_cast<off_t>(disk_.size().value());
  status.st_blocks = static_cast<blkcnt_t>(disk_.size().value() / kSectorSize);
  return status;
}

struct statvfs Operations::usage() const {
  struct statvfs usage {};
  usage.f_bsize = std::max<std::uint64_t>(options_.block_size, kDefaultBlockSize);
  usage.f_frsize = usage.f_bsize;
  usage.f_blocks = disk_.size().value() / usage.f_bsize;
  usage.f_files = 1;
  usage.f_namemax = 255;
  return usage;
}

void Operations::change_attributes(const struct stat& wanted, int to_set) {
  if ((to_set & FUSE_SET_ATTR_UID) != 0) attributes_.uid = wanted.st_uid;
  if ((to_set & FUSE_SET_ATTR_GID) != 0) attributes_.gid = wanted.st_gid;
  if ((to_set & FUSE_SET_ATTR_MODE) != 0) attributes_.mode = wanted.st_mode & 0777U;
  if ((to_set & FUSE_SET_ATTR_ATIME_NOW) != 0) {
    attributes_.accessed = now();
  } else if ((to_set & FUSE_SET_ATTR_ATIME) != 0) {
    attributes_.accessed = from_timespec(wanted.st_atim);
  }
  if ((to_set & FUSE_SET_ATTR_MTIME_NOW) != 0) {
    attributes_.modified = now();
  } else if ((to_set & FUSE_SET_ATTR_MTIME) != 0) {
    attributes_.modified = from_timespec(wanted.st_mtim);
  }
  attributes_.changed = now();
}

void Operations::touch() {
  // The coarse clock moves every few milliseconds: mostly this only reads, and workers keep the cache line shared.
  const std::int64_t time = now();
  auto& modified = attributes_.modified;
  if (modified.load(std::memory_order_relaxed) != time) modified.store(time, std::memory_order_relaxed);
}

RequestLatencies Operations::latencies() const {
  RequestLatencies all;
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = latencies_[i].counts();
  return all;
}

std::uint64_t Operations::new_handle(int flags) {
  return next_handle_.fetch_add(1, std::memory_order_relaxed) << 1U | ((flags & O_DSYNC) != 0 ? 1U : 0U);
}

bool Operations::is_synchronous(std::uint64_t handle) { return (handle & 1U) != 0; }

const fuse_lowlevel_ops& Operations::table() {
  static const fuse_lowlevel_ops kTable = [] {
    fuse_lowlevel_ops table{};
    table.lookup = on_lookup;
    table.getattr = on_getattr;
    table.setattr = on_setattr;
    table.open = on_open;
    table.release = on_release;
    table.read = on_read;
    table.write = on_write;
    table.flush = on_flush;
    table.fsync = on_fsync;
    table.fallocate = on_fallocate;
    table.lseek = on_lseek;
    table.statfs = on_statfs;
    table.opendir = on_opendir;
    table.readdir = on_readdir;
    table.releasedir = on_releasedir;
    table.fsyncdir = on_fsyncdir;
    table.mknod = on_mknod;
    table.create = on_create;
    table.mkdir = on_mkdir;
    table.unlink = on_remove;
    table.rmdir = on_remove;
    table.symlink = on_symlink;
    table.rename = on_rename;
    table.link = on_link;
    // Left out on purpose: libfuse answers ENOSYS, and the kernel stops asking and does the right thing itself.
    // Extended attributes: there are none. Locks: local ones work. copy_file_range: falls back to reading and writing.
    return table;
  }();
  return kTable;
}

}  // namespace remapfs::fuse
