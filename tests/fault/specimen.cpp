// SPDX-License-Identifier: Apache-2.0
#include "fault/specimen.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>

#include "store/sqlite_map_store.hpp"
#include "support/create_spec.hpp"
#include "support/forwarding_store.hpp"
#include "support/volume_rig.hpp"

namespace remapfs::testing {
namespace {

constexpr std::uint64_t kSpareBytes = std::uint64_t{3} << 20U;
constexpr std::uint64_t kDiskBytes = Specimen::kBlock * Specimen::kBlocks;
constexpr const char* kSuffixes[] = {"", "-wal", "-shm", "-journal"};

std::vector<std::byte> contents(const FakeDisk& disk) {
  return disk.peek({ByteOffset(0), ByteOffset(disk.geometry().size.value())});
}

// A store that can be left as a process leaves it that is killed.
class LeftOpen final : public ForwardingStore {
 public:
  LeftOpen(std::unique_ptr<MapStore> store, const bool& leave) : ForwardingStore(std::move(store)), leave_(leave) {}
  Result<void> close() override { return leave_ ? Result<void>() : inner().close(); }

 private:
  const bool& leave_;
};

Result<std::unique_ptr<Volume>> open_volume(const std::string& map_path, FakeDisk& primary, FakeDisk& spare,
                                            const bool& leave) {
  VolumeParts parts;
  parts.primary = std::make_unique<MemberDevice>(std::make_unique<BorrowedDevice>(primary));
  parts.spares[1] = std::make_unique<MemberDevice>(std::make_unique<BorrowedDevice>(spare));
  auto store = store::SqliteMapStore::open(map_path, {});
  if (!store) return fail(std::move(store.error()));
  if (auto attached = (*store)->attach_spare(1, *parts.spares.at(1)); !attached) return fail(attached.error());
  parts.store = std::make_unique<LeftOpen>(std::move(*store), leave);
  return Volume::open(std::move(parts), {});
}

// Lives through what the specimen has behind it.
class History {
 public:
  explicit History(std::uint64_t seed) : seed_(seed) {
    truth_.bytes = pattern(0, kDiskBytes, seed);
    truth_.lost.resize(kDiskBytes / kSectorSize);
    primary_.poke(ByteOffset(0), truth_.bytes);
    auto spec = simulated_spec(map_path_, ByteCount(kDiskBytes), Specimen::kBlock);
    spec.primary_identity = Specimen::identity(seed);
    const auto created = store::create_volume(spec, spare_);
    REMAPFS_INVARIANT(created.has_value());
  }

  Specimen live() {
    Specimen specimen;
    specimen.layout = store::SpareLayout::of(ByteCount(kSpareBytes), Specimen::kBlock);
    mount();
    for (std::uint64_t block = 0; block < 60; ++block) add(block);
    for (std::uint64_t block = 0; block < 40; ++block) write(block * Specimen::kBlock, Specimen::kBlock);
    for (std::uint64_t block = 300; block < 310; ++block) mark_lost(block);
    close();
    specimen.first = remains();
    specimen.first_truth = truth_;

    mount();
    for (std::uint64_t block = 60; block < 140; ++block) add(block);
    for (std::uint64_t block = 10; block < 120; ++block) write(block * Specimen::kBlock, Specimen::kBlock);
    for (std::uint64_t block = 5; block < 9; ++block) remove(block);
    move_from_bad_slots();
    lose_sectors();
    close();
    specimen.second = remains();
    specimen.second_truth = truth_;

    mount();
    change(150);
    close();
    specimen.unmarked = remains();

    mount();
    mark_lost(505);
    close();
    specimen.closed = remains();
    specimen.closed_truth = truth_;
    specimen.primary = contents(primary_);

    mount();
    change(200);
    leave_ = true;
    specimen.killed = remains();
    volume_.reset();
    specimen.killed_truth = truth_;
    specimen.primary_when_killed = contents(primary_);
    specimen.bad = bad_;
    return specimen;
  }

 private:
  void mount() {
    auto volume = open_volume(map_path_, primary_, spare_, leave_);
    REMAPFS_INVARIANT(volume.has_value());
    volume_ = std::move(*volume);
  }
  void close() {
    REMAPFS_INVARIANT(volume_->close().has_value());
    volume_.reset();
  }
  void add(std::uint64_t block) { REMAPFS_INVARIANT(volume_->add(BlockIndex(block)).has_value()); }
  void remove(std::uint64_t block) { REMAPFS_INVARIANT(volume_->remove(BlockIndex(block)).has_value()); }
  void mark_lost(std::uint64_t block) {
    REMAPFS_INVARIANT(volume_->mark_lost(BlockIndex(block)).has_value());
    for (std::uint64_t i = 0; i < 8; ++i) truth_.lost[block * 8 + i] = true;
  }
  void write(std::uint64_t offset, std::size_t length) {
    const auto bytes = pattern(offset, length, seed_ + ++version_);
    REMAPFS_INVARIANT(volume_->write(ByteOffset(offset), bytes).has_value());
    std::copy(bytes.begin(), bytes.end(), truth_.bytes.begin() + static_cast<std::ptrdiff_t>(offset));
    for (std::uint64_t s = offset / kSectorSize; s < (offset + length) / kSectorSize; ++s) truth_.lost[s] = false;
  }
  // Sectors that cannot be read any more, and are found so.
  void lose_sectors() {
    for (const std::uint64_t sector : {400 * 8 + 3, 401 * 8, 410 * 8 + 7}) {
      bad_.push_back(sector);
      primary_.add_bad_sectors(sector, 1, FaultRule::On::read);
      std::vector<std::byte> buffer(Specimen::kBlock);
      REMAPFS_INVARIANT(!volume_->read(ByteOffset(round_down(sector * kSectorSize, Specimen::kBlock)), buffer));
      truth_.lost[sector] = true;
    }
  }
  // Blocks that leave their slots, which are retired.
  void move_from_bad_slots() {
    const std::uint64_t sector =
        store::SpareLayout::of(ByteCount(kSpareBytes), Specimen::kBlock).first_slot.value() / kSectorSize + 30 * 8;
    spare_.add_bad_sectors(sector, 24, FaultRule::On::write);
    for (std::uint64_t block = 20; block < 50; ++block) write(block * Specimen::kBlock, Specimen::kBlock);
    spare_.clear_faults();
  }
  // Some of everything that leaves traces on the spare.
  void change(std::uint64_t from) {
    for (std::uint64_t block = from; block < from + 20; ++block) add(block);
    for (std::uint64_t block = from; block < from + 10; ++block) write(block * Specimen::kBlock, Specimen::kBlock);
    remove(from + 15);
    remove(50 + from / 50);
    mark_lost(from + 16);  // in its slot
    mark_lost(from + 17);
    write((from + 17) * Specimen::kBlock + 1024, 1024);  // of which two sectors are valid again
    mark_lost(from + 170);
    write((from + 170) * Specimen::kBlock, Specimen::kBlock);  // gets a slot by it
  }
  [[nodiscard]] Remains remains() const {
    Remains remains;
    for (const char* suffix : kSuffixes) {
      std::ifstream in(map_path_ + suffix, std::ios::binary);
      if (in) remains.map[suffix] = std::string(std::istreambuf_iterator<char>(in), {});
    }
    remains.spare = contents(spare_);
    return remains;
  }

  const std::uint64_t seed_;
  std::uint64_t version_ = 0;
  const TempDir directory_{"/dev/shm"};
  const std::string map_path_ = directory_ / "map";
  FakeDisk primary_{ByteCount(kDiskBytes), {}, "primary"};
  FakeDisk spare_{ByteCount(kSpareBytes), {}, "spare"};
  bool leave_ = false;
  std::unique_ptr<Volume> volume_;
  Truth truth_;
  std::vector<std::uint64_t> bad_;
};

}  // namespace

Specimen Specimen::make(std::uint64_t seed) { return History(seed).live(); }

Site::Site(const Specimen& specimen, const Remains& remains, const std::vector<std::byte>& primary) {
  for (const auto& [suffix, bytes] : remains.map) {
    std::ofstream(map_path_ + suffix, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  primary_ = std::make_unique<FakeDisk>(ByteCount(primary.size()), DeviceGeometry{}, "primary");
  primary_->poke(ByteOffset(0), primary);
  for (const std::uint64_t sector : specimen.bad) {
    if ((sector + 1) * kSectorSize <= primary.size()) primary_->add_bad_sectors(sector, 1, FaultRule::On::read);
  }
  spare_ = std::make_unique<FakeDisk>(ByteCount(remains.spare.size()), DeviceGeometry{}, "spare");
  spare_->poke(ByteOffset(0), remains.spare);
  for (const std::uint64_t sector : remains.unreadable) {
    FaultRule rule;
    rule.range = {ByteOffset(sector * kSectorSize), ByteOffset((sector + 1) * kSectorSize)};
    rule.on = FaultRule::On::read;
    rule.lasts = FaultRule::Lasts::until_written;
    spare_->add_fault(rule);
  }
}

Result<std::unique_ptr<Volume>> Site::mount(const std::string& map_path) {
  static const bool kClose = false;
  return open_volume(map_path, *primary_, *spare_, kClose);
}

Remains Site::now() const {
  Remains remains;
  for (const char* suffix : kSuffixes) {
    std::ifstream in(map_path_ + suffix, std::ios::binary);
    if (in) remains.map[suffix] = std::string(std::istreambuf_iterator<char>(in), {});
  }
  remains.spare = contents(*spare_);
  return remains;
}

}  // namespace remapfs::testing
