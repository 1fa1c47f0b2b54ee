// SPDX-License-Identifier: Apache-2.0
// The callbacks of libfuse: what the kernel asks, turned into calls of FuseDisk.
#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <new>

#include "fuse_disk.hpp"

namespace faulty {
namespace {

constexpr const char* kDiskName = "disk";
// Nothing about the file ever changes.
constexpr double kForever = 86400;
constexpr unsigned kMaxBackground = 256;

}  // namespace

struct FuseDisk::Operations {
  static FuseDisk& disk_of(fuse_req_t request) { return *static_cast<FuseDisk*>(fuse_req_userdata(request)); }

  // Runs the body of a callback; memory may run out before a request is answered, never after.
  template <class Body>
  static void guarded(fuse_req_t request, Body&& body) {
    try {
      body(disk_of(request));
    } catch (const std::bad_alloc&) {
      fuse_reply_err(request, ENOMEM);
    }
  }

  static void init(void*, fuse_conn_info* connection) {
    // With O_TRUNC passed to open() the kernel would set its idea of the size to 0 whatever the answer (libfuse 3.14
    // asks for it by default). Splicing hides errors.
    connection->want &= ~static_cast<unsigned>(FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
                                               FUSE_CAP_SPLICE_MOVE);
    connection->max_write = static_cast<unsigned>(remapfs::kMaxRequestSize);
    connection->max_background = kMaxBackground;
    connection->congestion_threshold = kMaxBackground * 3 / 4;
  }

  static void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
    const FuseDisk& disk = disk_of(request);
    if (parent != FUSE_ROOT_ID || !disk.options_.is_directory || std::strcmp(name, kDiskName) != 0) {
      fuse_reply_err(request, ENOENT);
      return;
    }
    fuse_entry_param entry{};
    entry.ino = disk.disk_inode();
    entry.attr_timeout = kForever;
    entry.entry_timeout = kForever;
    disk.attributes(entry.ino, entry.attr);
    fuse_reply_entry(request, &entry);
  }

  static void getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info*) {
    struct stat status {};
    disk_of(request).attributes(inode, status);
    fuse_reply_attr(request, &status, kForever);
  }

  // A disk has a fixed size. Times may be touched, to no effect.
  static void setattr(fuse_req_t request, fuse_ino_t inode, struct stat* wanted, int what, fuse_file_info*) {
    static constexpr int kTimes = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW |
                                  FUSE_SET_ATTR_MTIME_NOW | FUSE_SET_ATTR_CTIME;
    struct stat status {};
    disk_of(request).attributes(inode, status);
    const bool same_size = (what & FUSE_SET_ATTR_SIZE) == 0 || wanted->st_size == status.st_size;
    if (!same_size || (what & ~(kTimes | FUSE_SET_ATTR_SIZE)) != 0) {
      fuse_reply_err(request, EPERM);
      return;
    }
    fuse_reply_attr(request, &status, kForever);
  }

  static void open(fuse_req_t request, fuse_ino_t, fuse_file_info*) {
    FuseDisk& disk = disk_of(request);
    if (const int gone = disk.engine_.gone(); gone != 0) {
      disk.counts_.refused_gone.add();
      fuse_reply_err(request, gone);
      return;
    }
    // libfuse 3.14 cannot ask for parallel writes, without which one slow write stops all others. Its reply would be
    // this structure.
    fuse_open_out answer{};
    answer.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
    fuse_reply_buf(request, reinterpret_cast<const char*>(&answer), sizeof answer);
  }

  static void read(fuse_req_t request, fuse_ino_t, std::size_t length, off_t from, fuse_file_info*) {
    guarded(request, [&](FuseDisk& disk) { disk.read(request, ByteOffset(static_cast<std::uint64_t>(from)), length); });
  }

  static void write(fuse_req_t request, fuse_ino_t, const char* data, std::size_t length, off_t to, fuse_file_info*) {
    guarded(request, [&](FuseDisk& disk) {
      disk.write(request, ByteOffset(static_cast<std::uint64_t>(to)),
                 {reinterpret_cast<const std::byte*>(data), length});
    });
  }

  static void fsync(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) {
    guarded(request, [&](FuseDisk& disk) { disk.flush(request); });
  }

  static void fallocate(fuse_req_t request, fuse_ino_t, int mode, off_t from, off_t length, fuse_file_info*) {
    const int kind = mode & ~FALLOC_FL_KEEP_SIZE;
    const bool punch = kind == FALLOC_FL_PUNCH_HOLE;
    if (!punch && kind != FALLOC_FL_ZERO_RANGE) {
      fuse_reply_err(request, EOPNOTSUPP);  // never ENOSYS: the kernel would not ask again
      return;
    }
    const ByteOffset begin(static_cast<std::uint64_t>(from));
    guarded(request, [&](FuseDisk& disk) {
      disk.zero(request, {begin, begin + static_cast<std::uint64_t>(length)}, punch);
    });
  }

  static void lseek(fuse_req_t request, fuse_ino_t, off_t from, int whence, fuse_file_info*) {
    FuseDisk& disk = disk_of(request);
    ByteOffset found;
    int error = disk.engine_.gone();
    if (error != 0) {
      disk.counts_.refused_gone.add();
    } else {
      error = disk.image_.seek(ByteOffset(static_cast<std::uint64_t>(from)), whence, found);
    }
    if (error != 0) {
      fuse_reply_err(request, error);
      return;
    }
    fuse_reply_lseek(request, static_cast<off_t>(found.value()));
  }

  static void flush(fuse_req_t request, fuse_ino_t, fuse_file_info*) { fuse_reply_err(request, 0); }
  static void release(fuse_req_t request, fuse_ino_t, fuse_file_info*) { fuse_reply_err(request, 0); }

  static void readdir(fuse_req_t request, fuse_ino_t, std::size_t size, off_t from, fuse_file_info*) {
    const FuseDisk& disk = disk_of(request);
    struct Entry {
      const char* name;
      fuse_ino_t inode;
    };
    const std::array<Entry, 3> entries{{{".", FUSE_ROOT_ID}, {"..", FUSE_ROOT_ID}, {kDiskName, disk.disk_inode()}}};
    std::array<char, 512> buffer{};
    std::size_t used = 0;
    const std::size_t room = std::min(size, buffer.size());
    for (std::size_t i = static_cast<std::size_t>(from); i < entries.size(); ++i) {
      struct stat status {};
      disk.attributes(entries[i].inode, status);
      const std::size_t needed = fuse_add_direntry(request, buffer.data() + used, room - used, entries[i].name, &status,
                                                   static_cast<off_t>(i + 1));
      if (needed > room - used) break;
      used += needed;
    }
    fuse_reply_buf(request, buffer.data(), used);
  }

  static void statfs(fuse_req_t request, fuse_ino_t) {
    const FuseDisk& disk = disk_of(request);
    struct statvfs status {};
    status.f_bsize = 4096;
    status.f_frsize = 4096;
    status.f_blocks = disk.image_.size().value() / 4096;
    status.f_files = disk.options_.is_directory ? 2 : 1;
    status.f_namemax = 255;
    fuse_reply_statfs(request, &status);
  }

  static constexpr fuse_lowlevel_ops table() {
    fuse_lowlevel_ops ops{};
    ops.init = init;
    ops.lookup = lookup;
    ops.getattr = getattr;
    ops.setattr = setattr;
    ops.open = open;
    ops.read = read;
    ops.write = write;
    ops.flush = flush;
    ops.release = release;
    ops.fsync = fsync;
    ops.readdir = readdir;
    ops.statfs = statfs;
    ops.fallocate = fallocate;
    ops.lseek = lseek;
    return ops;
  }
};

fuse_session* FuseDisk::new_session(const std::string& mount_options) {
  static constexpr fuse_lowlevel_ops kOperations = Operations::table();
  std::string name = "faulty-disk";
  std::string flag = "-o";
  std::string options = mount_options;
  std::array<char*, 4> argv{name.data(), flag.data(), options.data(), nullptr};
  fuse_args arguments = FUSE_ARGS_INIT(3, argv.data());
  fuse_session* session = fuse_session_new(&arguments, &kOperations, sizeof kOperations, this);
  fuse_opt_free_args(&arguments);
  return session;
}

void FuseDisk::attributes(fuse_ino_t inode, struct stat& status) const {
  status.st_ino = inode;
  status.st_uid = ::geteuid();
  status.st_gid = ::getegid();
  status.st_atim = status.st_mtim = status.st_ctim = mounted_at_;
  if (inode != disk_inode()) {
    status.st_mode = S_IFDIR | (options_.others ? 0755 : 0700);
    status.st_nlink = 2;
    return;
  }
  status.st_mode = S_IFREG | (options_.others ? 0666 : 0600);
  status.st_nlink = 1;
  status.st_size = static_cast<off_t>(image_.size().value());
  status.st_blocks = static_cast<blkcnt_t>(image_.size().value() / remapfs::kSectorSize);
  status.st_blksize = static_cast<blksize_t>(engine_.disk().cell_size());
}

}  // namespace faulty
