// SPDX-License-Identifier: Apache-2.0
#include "cli/creation.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "cli/output.hpp"
#include "cli/target.hpp"
#include "io/device_identity.hpp"
#include "io/device_slice.hpp"
#include "io/posix_device.hpp"
#include "store/create_volume.hpp"
#include "store/spare_superblocks.hpp"

namespace remapfs::cli {
namespace {

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

  const CreationWish& wish_;
  const World& world_;
  std::string map_path_;
  std::string primary_path_;
  std::string spare_path_;
  std::uint64_t block_size_ = kDefaultBlockSize;
  std::shared_ptr<BlockDevice> primary_;
  std::optional<SpareDevice> spare_;
};

Creator::Step Creator::resolve_paths() {
  const std::string& spare = wish_.reserve ? wish_.primary : wish_.spare;
  for (const auto& [text, path] : {std::pair{&wish_.map, &map_path_}, std::pair{&wish_.primary, &primary_path_},
                                   std::pair{&spare, &spare_path_}}) {
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

Creator::Step Creator::open_primary() {
  auto primary = open_alone(primary_path_, world_);
  if (!primary) return tl::unexpected(could_not(primary.error()));
  primary_ = std::move(*primary);
  if (wish_.force) return {};
  // Of a volume that is not mounted, which would be overwritten sooner or later.
  if (const auto begin = store::find_spare(*primary_, true)) {
    return tl::unexpected(could_not({Errc::exists, EEXIST,
                                     fmt::format("its end, from byte {} on, is the spare of a volume, {}, run "
                                                 "remapfs destroy on that or use --force",
                                                 begin->value(), primary_path_)}));
  }
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
  if (wish_.reserve) {
    auto reserve = take_reserve({primary_path_, *wish_.reserve, block_size_, wish_.force}, primary_);
    if (!reserve) return tl::unexpected(std::move(reserve.error()));
    spare_.emplace(std::move(*reserve));
    return {};
  }
  SpareWish wish;
  wish.path = spare_path_;
  wish.size = wish_.spare_size;
  wish.size_option = "--spare-size";
  wish.block_size = block_size_;
  wish.force = wish_.force;
  wish.apart = {primary_path_};
  auto spare = open_spare_device(wish, world_);
  if (!spare) return tl::unexpected(std::move(spare.error()));
  spare_.emplace(std::move(*spare));
  return {};
}

tl::expected<Creation, CreationFailure> Creator::run() {
  for (const auto step :
       {&Creator::resolve_paths, &Creator::open_primary, &Creator::choose_block_size, &Creator::open_spare}) {
    if (auto done = (this->*step)(); !done) return tl::unexpected(std::move(done).error());
  }
  const auto primary_identity = identify_device(primary_->native_handle(), world_.views);
  if (!primary_identity) return tl::unexpected(could_not(primary_identity.error()));
  const auto spare_identity = identify_device(spare_->device->native_handle(), world_.views);
  if (!spare_identity) return tl::unexpected(could_not(spare_identity.error()));

  store::CreateSpec spec;
  spec.map_path = map_path_;
  spec.label = wish_.label;
  spec.block_size = block_size_;
  // The disk ends where its spare begins.
  spec.size = wish_.reserve ? ByteCount(spare_->begin.value()) : primary_->geometry().size;
  spec.primary_path = primary_path_;
  spec.primary_identity = to_line(*primary_identity);
  spec.spare_path = spare_path_;
  spec.spare_identity = to_line(*spare_identity);
  spec.spare_begin = spare_->begin;
  spec.spare_reads_zeros = spare_->file.made();
  auto info = store::create_volume(spec, *spare_->device);
  if (!info) return tl::unexpected(could_not(info.error()));
  spare_->file.keep();

  Creation creation{std::move(*info), {}};
  const auto warn = [&](const BlockDevice& device) {
    if (std::string warning = warning_for(device); !warning.empty()) creation.warnings.push_back(std::move(warning));
  };
  warn(*primary_);
  if (!wish_.reserve) warn(*spare_->device);
  return creation;
}

}  // namespace

tl::expected<Creation, CreationFailure> create(const CreationWish& wish, const World& world) {
  return Creator(wish, world).run();
}

}  // namespace remapfs::cli
