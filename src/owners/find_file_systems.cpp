// SPDX-License-Identifier: Apache-2.0
#include "owners/find_file_systems.hpp"

#include <blkid/blkid.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <type_traits>

namespace remapfs::owners {
namespace {

struct FreeProbe {
  void operator()(blkid_probe probe) const { blkid_free_probe(probe); }
};
using Probe = std::unique_ptr<std::remove_pointer_t<blkid_probe>, FreeProbe>;

// Whether a copy of a superblock of ext2, ext3 or ext4 is where mke2fs puts the first one, for each size of block.
// libblkid looks at the original alone, which may be what is lost.
bool has_ext_copy(int descriptor, ByteRange range) {
  constexpr std::uint64_t kMagicAt = 56;
  constexpr std::array<std::uint64_t, 3> kCopies{8193ULL * 1024, 16384ULL * 2048, 32768ULL * 4096};
  return std::any_of(kCopies.begin(), kCopies.end(), [&](std::uint64_t copy) {
    std::array<unsigned char, 2> magic{};
    if (copy + kSectorSize > range.size().value()) return false;
    const auto at = static_cast<off_t>((range.begin + copy + kMagicAt).value());
    return ::pread(descriptor, magic.data(), magic.size(), at) == 2 && magic[0] == 0x53 && magic[1] == 0xEF;
  });
}

// Empty: none that is known.
Result<std::string> type_at(int descriptor, ByteRange range) {
  const Probe probe(blkid_new_probe());
  if (!probe) return fail(Errc::no_memory);
  if (blkid_probe_set_device(probe.get(), descriptor, static_cast<blkid_loff_t>(range.begin.value()),
                             static_cast<blkid_loff_t>(range.size().value())) != 0) {
    return fail(Errc::device_other, "the disk cannot be looked at");
  }
  blkid_probe_enable_superblocks(probe.get(), 1);
  blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE);
  const char* type = nullptr;
  if (blkid_do_safeprobe(probe.get()) != 0 || blkid_probe_lookup_value(probe.get(), "TYPE", &type, nullptr) != 0) {
    return has_ext_copy(descriptor, range) ? std::string("ext4") : std::string();
  }
  return std::string(type);
}

}  // namespace

Result<std::vector<FileSystem>> find_file_systems(int descriptor, ByteCount size) {
  std::vector<FileSystem> found;
  const ByteRange disk{ByteOffset(0), ByteOffset(size.value())};
  const Probe probe(blkid_new_probe());
  if (!probe) return fail(Errc::no_memory);
  if (blkid_probe_set_device(probe.get(), descriptor, 0, 0) != 0) {
    return fail(Errc::device_other, "the disk cannot be looked at");
  }
  blkid_probe_enable_superblocks(probe.get(), 0);
  blkid_probe_enable_partitions(probe.get(), 1);
  blkid_partlist list = blkid_probe_get_partitions(probe.get());
  const int count = list == nullptr ? 0 : blkid_partlist_numof_partitions(list);
  for (int i = 0; i < count; ++i) {
    blkid_partition partition = blkid_partlist_get_partition(list, i);
    if (partition == nullptr || blkid_partition_is_extended(partition) != 0) continue;
    const auto first = static_cast<std::uint64_t>(std::max<blkid_loff_t>(blkid_partition_get_start(partition), 0));
    const auto sectors = static_cast<std::uint64_t>(std::max<blkid_loff_t>(blkid_partition_get_size(partition), 0));
    const std::uint64_t disk_sectors = size.value() / kSectorSize;
    if (sectors == 0 || first >= disk_sectors) continue;
    const std::uint64_t end = std::min(disk_sectors - first, sectors) + first;
    const ByteRange range{ByteOffset(first * kSectorSize), ByteOffset(end * kSectorSize)};
    auto type = type_at(descriptor, range);
    if (!type) return fail(type.error());
    found.push_back({blkid_partition_get_partno(partition), range, *type});
  }
  if (!found.empty()) return found;
  auto whole = type_at(descriptor, disk);
  if (!whole) return fail(whole.error());
  if (!whole->empty()) found.push_back({0, disk, *whole});
  return found;
}

}  // namespace remapfs::owners
