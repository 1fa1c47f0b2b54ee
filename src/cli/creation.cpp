// SPDX-License-Identifier: Apache-2.0
#include "cli/creation.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "cli/output.hpp"
#include "cli/target.hpp"
#include "core/unique_fd.hpp"
#include "io/device_identity.hpp"
#include "io/member_check.hpp"
#include "io/posix_device.hpp"
#include "store/create_volume.hpp"
#include "store/spare_superblocks.hpp"

namespace remapfs::cli {
namespace {

Result<void> sync_directory_of(const std::string& path) {
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  const UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd && ::fsync(fd.get()) == 0) return {};
  return fail(Errc::device_other,
              fmt::format("cannot sync the directory, {} ({}), check its disk", directory, std::strerror(errno)),
              errno);
}

// A spare file that is removed again unless it is kept.
class NewSpare {
 public:
  // Makes the file, all of it allocated: a spare that runs out of space when a sector dies would be no spare.
  Result<void> make(const std::string& path, ByteCount size) {
    const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file) return fail(cannot(path, errno));
    path_ = path;
    const int error = ::posix_fallocate(file.get(), 0, static_cast<off_t>(size.value()));
    if (error != 0) return fail(cannot(path, error));
    if (::fsync(file.get()) != 0) return fail(cannot(path, errno));
    return sync_directory_of(path);
  }
  NewSpare() = default;
  ~NewSpare() {
    if (path_.empty()) return;
    ::unlink(path_.c_str());
    std::ignore = sync_directory_of(path_);
  }
  NewSpare(const NewSpare&) = delete;
  NewSpare& operator=(const NewSpare&) = delete;

  void keep() { path_.clear(); }
  [[nodiscard]] bool made() const { return !path_.empty(); }

 private:
  static Error cannot(const std::string& path, int error) {
    const Errc code = error == ENOSPC || error == EDQUOT || error == EFBIG ? Errc::no_space
                      : error == EACCES || error == EPERM                  ? Errc::permission
                                                                           : Errc::device_other;
    return {code, error,
            fmt::format("cannot make the spare, {} ({}), use another place or size", path, std::strerror(error))};
  }
  std::string path_;
};

bool exists(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0;
}

CreationFailure could_not(Error error) { return {std::move(error), false}; }
CreationFailure wrong_use(std::string message) { return {{Errc::invalid, 0, std::move(message)}, true}; }

// One creation, step by step; each step may refuse.
class Creator {
 public:
  Creator(const CreationWish& wish, const World& world) : wish_(wish), world_(world) {}

  tl::expected<Creation, CreationFailure> run();

 private:
  using Step = tl::expected<void, CreationFailure>;
  Step resolve_paths();
  Step open_primary();
  Step choose_block_size();
  Step open_spare();
  Step check_existing_spare();
  Result<std::unique_ptr<BlockDevice>> open_alone(const std::string& path) const;

  const CreationWish& wish_;
  const World& world_;
  std::string map_path_;
  std::string primary_path_;
  std::string spare_path_;
  std::uint64_t block_size_ = kDefaultBlockSize;
  NewSpare new_spare_;  // outlives the device opened on it
  std::unique_ptr<BlockDevice> primary_;
  std::unique_ptr<BlockDevice> spare_;
};

Creator::Step Creator::resolve_paths() {
  for (const auto& [text, path] : {std::pair{&wish_.map, &map_path_}, std::pair{&wish_.primary, &primary_path_},
                                   std::pair{&wish_.spare, &spare_path_}}) {
    auto absolute = absolute_path(*text);
    if (!absolute) return tl::unexpected(could_not(absolute.error()));
    *path = std::move(*absolute);
  }
  if (map_path_ == primary_path_ || map_path_ == spare_path_) {
    return tl::unexpected(wrong_use(fmt::format("map and member are the same file, {}, use another name", map_path_)));
  }
  if (exists(map_path_)) {
    return tl::unexpected(
        could_not({Errc::exists, EEXIST, fmt::format("map exists already, {}, use another name", map_path_)}));
  }
  return {};
}

Result<std::unique_ptr<BlockDevice>> Creator::open_alone(const std::string& path) const {
  if (auto unused = check_unused(path, world_.views); !unused) return fail(unused.error());
  DeviceOptions how;
  how.views = world_.views;
  return open_device(path, how);
}

Creator::Step Creator::open_primary() {
  auto primary = open_alone(primary_path_);
  if (!primary) return tl::unexpected(could_not(primary.error()));
  primary_ = std::move(*primary);
  return {};
}

Creator::Step Creator::choose_block_size() {
  const DeviceGeometry& primary = primary_->geometry();
  const std::uint64_t usual = std::max<std::uint64_t>(kDefaultBlockSize, primary.physical_block);
  block_size_ = wish_.block_size.value_or(std::min(usual, kMaxBlockSize));
  if (block_size_ < primary.logical_block) {
    return tl::unexpected(could_not({Errc::invalid, 0,
                                     fmt::format("block size {} is below the disk's own, {}, use --block-size {}",
                                                 block_size_, primary_path_, primary.logical_block)}));
  }
  return {};
}

Creator::Step Creator::open_spare() {
  const bool there = exists(spare_path_);
  if (!there) {
    if (!wish_.spare_size) {
      return tl::unexpected(wrong_use(fmt::format("spare is not there, {}, use --spare-size to make it", spare_path_)));
    }
    if (store::slots_for(*wish_.spare_size, block_size_) == 0) {
      return tl::unexpected(could_not(
          {Errc::invalid, 0,
           fmt::format("spare is too small, {} ({}), use more", spare_path_, human_size(wish_.spare_size->value()))}));
    }
    if (auto made = new_spare_.make(spare_path_, *wish_.spare_size); !made) {
      return tl::unexpected(could_not(made.error()));
    }
  }
  if (auto apart = check_no_overlap(primary_path_, spare_path_, world_.views); !apart) {
    return tl::unexpected(could_not(apart.error()));
  }
  auto spare = open_alone(spare_path_);
  if (!spare) return tl::unexpected(could_not(spare.error()));
  spare_ = std::move(*spare);
  const DeviceGeometry& geometry = spare_->geometry();
  if (block_size_ < geometry.logical_block) {
    return tl::unexpected(could_not({Errc::invalid, 0,
                                     fmt::format("block size {} is below the spare's own, {}, use --block-size {}",
                                                 block_size_, spare_path_, geometry.logical_block)}));
  }
  if (store::slots_for(geometry.size, block_size_) == 0) {
    return tl::unexpected(could_not({Errc::invalid, 0,
                                     fmt::format("spare is too small, {} ({}), use a larger one", spare_path_,
                                                 human_size(geometry.size.value()))}));
  }
  return there ? check_existing_spare() : Step();
}

Creator::Step Creator::check_existing_spare() {
  const ByteCount size = spare_->geometry().size;
  if (wish_.spare_size && *wish_.spare_size != size) {
    return tl::unexpected(
        could_not({Errc::exists, EEXIST,
                   fmt::format("spare exists already, {} ({} bytes), leave out --spare-size to use it whole",
                               spare_path_, size.value())}));
  }
  if (wish_.force) return {};
  const auto copies = store::read_superblocks(*spare_);
  for (const store::Copy copy : store::kCopies) {
    if (!copies[copy] && copies[copy].error().code != Errc::too_new) continue;
    return tl::unexpected(could_not(
        {Errc::exists, 0,
         fmt::format("spare belongs to another volume, {}{}, run remapfs destroy on that or use --force", spare_path_,
                     copies[copy] ? " (" + copies[copy]->volume.to_string() + ")" : std::string())}));
  }
  if (auto blank = check_no_signature(spare_path_); !blank) return tl::unexpected(could_not(blank.error()));
  return {};
}

tl::expected<Creation, CreationFailure> Creator::run() {
  for (const auto step :
       {&Creator::resolve_paths, &Creator::open_primary, &Creator::choose_block_size, &Creator::open_spare}) {
    if (auto done = (this->*step)(); !done) return tl::unexpected(std::move(done).error());
  }
  const auto primary_identity = identify_device(primary_->native_handle(), world_.views);
  if (!primary_identity) return tl::unexpected(could_not(primary_identity.error()));
  const auto spare_identity = identify_device(spare_->native_handle(), world_.views);
  if (!spare_identity) return tl::unexpected(could_not(spare_identity.error()));

  store::CreateSpec spec;
  spec.map_path = map_path_;
  spec.label = wish_.label;
  spec.block_size = block_size_;
  spec.size = primary_->geometry().size;
  spec.primary_path = primary_path_;
  spec.primary_identity = to_line(*primary_identity);
  spec.spare_path = spare_path_;
  spec.spare_identity = to_line(*spare_identity);
  spec.spare_reads_zeros = new_spare_.made();
  auto info = store::create_volume(spec, *spare_);
  if (!info) return tl::unexpected(could_not(info.error()));
  new_spare_.keep();

  Creation creation{std::move(*info), {}};
  for (const BlockDevice* device : {primary_.get(), spare_.get()}) {
    if (std::string warning = warning_for(*device); !warning.empty()) creation.warnings.push_back(std::move(warning));
  }
  return creation;
}

}  // namespace

tl::expected<Creation, CreationFailure> create(const CreationWish& wish, const World& world) {
  return Creator(wish, world).run();
}

}  // namespace remapfs::cli
