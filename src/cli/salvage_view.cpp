// SPDX-License-Identifier: Apache-2.0
#include "cli/salvage_view.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <utility>

#include "fuse/mount_point.hpp"
#include "fuse/operations.hpp"
#include "fuse/transport.hpp"
#include "fuse/virtual_disk.hpp"

namespace remapfs::cli {
namespace {

constexpr unsigned kWorkers = 2;

class SalvageDisk final : public fuse::VirtualDisk {
 public:
  SalvageDisk(SalvageView::Read read, ByteRange range) : read_(std::move(read)), range_(range) {}

  [[nodiscard]] ByteCount size() const override { return range_.size(); }
  [[nodiscard]] bool read_only() const override { return true; }
  Result<std::size_t> read(ByteOffset offset, std::span<std::byte> buffer) override {
    // Whole sectors around what was asked for.
    const std::uint64_t begin = round_down(offset.value(), kSectorSize);
    const std::uint64_t end = std::min(round_up(offset.value() + buffer.size(), kSectorSize), size().value());
    std::vector<std::byte> wide(end - begin);
    salvage(range_.begin + begin, wide);
    std::memcpy(buffer.data(), wide.data() + (offset.value() - begin), buffer.size());
    return buffer.size();
  }
  Result<void> write(ByteOffset, std::span<const std::byte>) override { return fail(Errc::read_only); }
  Result<void> flush() override { return {}; }
  Result<void> zero(ByteRange) override { return fail(Errc::read_only); }
  Result<void> punch(ByteRange) override { return fail(Errc::read_only); }
  [[nodiscard]] bool can_punch() const override { return false; }
  Result<ByteOffset> seek_data(ByteOffset from) override { return from; }
  Result<ByteOffset> seek_hole(ByteOffset) override { return ByteOffset(size().value()); }

 private:
  void salvage(ByteOffset at, std::span<std::byte> buffer) {
    if (read_(at, buffer)) return;
    if (buffer.size() <= kSectorSize) {
      std::fill(buffer.begin(), buffer.end(), std::byte{0});
      return;
    }
    const std::size_t half = round_up(buffer.size() / 2, std::size_t{kSectorSize});
    salvage(at, buffer.first(half));
    salvage(at + half, buffer.subspan(half));
  }

  const SalvageView::Read read_;
  const ByteRange range_;
};

class MountedView final : public SalvageView {
 public:
  MountedView(Read read, ByteRange range) : disk_(std::move(read), range) {}
  ~MountedView() override {
    if (mounted_) std::ignore = fuse::unmount_fuse(folder_);
    transport_.reset();
    if (!folder_.empty()) ::rmdir(folder_.c_str());
  }

  Result<void> mount() {
    std::string folder = "/tmp/remapfs-view.XXXXXX";
    if (::mkdtemp(folder.data()) == nullptr) {
      return fail(Errc::device_other, fmt::format("cannot make a folder in /tmp ({})", std::strerror(errno)), errno);
    }
    folder_ = folder;
    fuse::MountOptions how;
    how.source = "view";
    how.read_only = true;
    auto channel = fuse::mount_fuse(folder_, how);
    if (!channel) return fail(channel.error());
    mounted_ = true;
    auto descriptors = fuse::clone_descriptors(channel->descriptor, kWorkers);
    if (!descriptors) return fail(descriptors.error());
    fuse::OperationsOptions look;
    look.mode = 0400;
    operations_.emplace(disk_, look);
    fuse::TransportOptions options;
    options.connection = channel->connection;
    auto transport = fuse::Transport::start(std::move(*descriptors), fuse::Operations::table(), &*operations_, options);
    if (!transport) return fail(transport.error());
    transport_ = std::move(*transport);
    path_ = folder_ + "/disk";
    return {};
  }
  [[nodiscard]] const std::string& path() const override { return path_; }

 private:
  SalvageDisk disk_;
  std::string folder_;
  std::string path_;
  bool mounted_ = false;
  std::optional<fuse::Operations> operations_;
  std::unique_ptr<fuse::Transport> transport_;
};

}  // namespace

Result<std::unique_ptr<SalvageView>> SalvageView::make(Read read, ByteRange range) {
  auto view = std::make_unique<MountedView>(std::move(read), range);
  if (auto mounted = view->mount(); !mounted) return fail(mounted.error());
  return view;
}

}  // namespace remapfs::cli
