// SPDX-License-Identifier: Apache-2.0
#include "store/create_volume.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "unit/store/store_fixture.hpp"

namespace remapfs::store {
namespace {

class CreateVolume : public StoreTest {
 protected:
  CreateVolume() {
    spare_ = testing::FakeDisk::with_logical_block(ByteCount(4 * kMiB), 512);
    spec_.map_path = map_path_;
    spec_.size = ByteCount(1000 * 4096);
    spec_.primary_path = "/primary";
    spec_.spare_path = "/spare";
  }
  [[nodiscard]] std::size_t files_in_directory() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(directory_.path()), {}));
  }
  void expect_nothing_left(std::size_t files = 0) {
    EXPECT_EQ(files_in_directory(), files);
    for (const ByteOffset at : layout().superblock) {
      std::vector<std::byte> bytes(kSuperblockBytes);
      spare().peek(at, bytes);
      EXPECT_FALSE(decode_superblock(bytes).has_value());
    }
  }
  CreateSpec spec_;
};

TEST_F(CreateVolume, MapIsOnePrivateFileAndTheVolumeLoads) {
  const auto info = create_volume(spec_, spare());
  ASSERT_OK(info);
  EXPECT_EQ(info->map_path, map_path());
  EXPECT_EQ(info->spares.at(0).slots, layout().slots);
  EXPECT_EQ(files_in_directory(), 1U);
  struct stat status {};
  ASSERT_EQ(::stat(map_path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0600U);
  spare().crash_all_lost();  // everything was synced
  open();
  EXPECT_TRUE(rows().empty());
}

TEST_F(CreateVolume, OldTagsAreErased) {
  spare().poke(layout().tags[0], std::vector<std::byte>(kMiB, std::byte{0xFF}));
  spare().poke(layout().tags[1], std::vector<std::byte>(layout().tag_table_bytes(), std::byte{0xFF}));
  ASSERT_OK(create_volume(spec_, spare()));
  EXPECT_TRUE(findings().empty());
}

TEST_F(CreateVolume, FreshSpareGetsNothingButSuperblocks) {
  spec_.spare_reads_zeros = true;
  ASSERT_OK(create_volume(spec_, spare()));
  EXPECT_EQ(spare().counters().writes, 2U);
  EXPECT_EQ(spare().counters().zeroes, 0U);
  open();
}

TEST_F(CreateVolume, ExistingFilesAreNeverReplaced) {
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
    SCOPED_TRACE(suffix);
    std::ofstream(map_path() + suffix) << "precious";
    const auto refused = create_volume(spec_, spare());
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, Errc::exists);
    EXPECT_EQ(spare().counters().writes, 0U);
    EXPECT_EQ(std::filesystem::file_size(map_path() + suffix), 8U);
    expect_nothing_left(1);
    std::filesystem::remove(map_path() + suffix);
  }
  std::filesystem::create_symlink("/nonexistent", map_path());
  EXPECT_EQ(create_volume(spec_, spare()).error().code, Errc::exists);
}

TEST_F(CreateVolume, MapThatAppearsMeanwhileIsNotReplaced) {
  spare().set_before([&](const testing::FakeOperation&) { std::ofstream(map_path()) << "precious"; });
  const auto refused = create_volume(spec_, spare());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::exists);
  EXPECT_EQ(std::filesystem::file_size(map_path()), 8U);
  expect_nothing_left(1);
}

TEST_F(CreateVolume, WrongArgumentsAreRefused) {
  const auto code_of = [&](auto&& change) {
    CreateSpec spec = spec_;
    change(spec);
    const auto refused = create_volume(spec, spare());
    return refused ? Errc::exists : refused.error().code;
  };
  EXPECT_EQ(code_of([](CreateSpec& spec) { spec.block_size = 3000; }), Errc::invalid);
  EXPECT_EQ(code_of([](CreateSpec& spec) { spec.block_size = 65536; }), Errc::invalid);
  EXPECT_EQ(code_of([](CreateSpec& spec) { spec.size = ByteCount(0); }), Errc::invalid);
  EXPECT_EQ(code_of([](CreateSpec& spec) { spec.size = ByteCount(1000); }), Errc::invalid);
  EXPECT_EQ(code_of([&](CreateSpec& spec) { spec.map_path = directory_ / "no/where"; }), Errc::not_found);
  spare_ = testing::FakeDisk::with_logical_block(ByteCount(kMiB), 512);
  EXPECT_EQ(create_volume(spec_, spare()).error().code, Errc::invalid);
  spare_ = testing::FakeDisk::with_logical_block(ByteCount(4 * kMiB), 4096);
  EXPECT_EQ(code_of([](CreateSpec& spec) { spec.block_size = 512; }), Errc::invalid);
  EXPECT_EQ(files_in_directory(), 0U);
}

TEST_F(CreateVolume, EveryDeviceOperationThatFailsOnceLeavesNothingBehind) {
  bool failed = true;
  for (std::uint64_t n = 1; failed; ++n) {
    SCOPED_TRACE(n);
    spare_ = testing::FakeDisk::with_logical_block(ByteCount(4 * kMiB), 512);
    spare().fail_nth(n);
    const auto created = create_volume(spec_, spare());
    failed = spare().nth_failed();
    ASSERT_EQ(created.has_value(), !failed);
    if (failed) expect_nothing_left();
  }
  open();
}

}  // namespace
}  // namespace remapfs::store
