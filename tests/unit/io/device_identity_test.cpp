// SPDX-License-Identifier: Apache-2.0
#include "io/device_identity.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "support/temp_dir.hpp"

namespace remapfs::testing {
namespace {

using ::testing::HasSubstr;

DeviceIdentity disk(std::uint64_t size, const std::string& wwn, const std::string& serial) {
  DeviceIdentity identity;
  identity.kind = DeviceIdentity::Kind::disk;
  identity.size = ByteCount(size);
  identity.wwn = wwn;
  identity.serial = serial;
  return identity;
}

TEST(DeviceIdentity, ALineHoldsEverythingWhateverBytesVendorsPutThere) {
  DeviceIdentity identity = disk(1000204886016, "t10.ATA     WDC 100%\x01\xff", "WD = \"X\"\n");
  identity.partition_start = 1048576;
  identity.place = "8:1";
  const std::string line = to_line(identity);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto back = parse_identity(line);
  ASSERT_TRUE(back) << describe(back.error());
  EXPECT_EQ(*back, identity);
}

TEST(DeviceIdentity, ALineOfANewerProgramCanBeRead) {
  const auto identity = parse_identity("kind=file size=4096 moon=full");
  ASSERT_TRUE(identity);
  EXPECT_EQ(identity->size, ByteCount(4096));
}

TEST(DeviceIdentity, DamagedLinesAreCorruptNotGuessed) {
  for (const char* line : {"", "kind=disk", "size=4096", "kind=tape size=4096", "kind=disk size=4k",
                           "kind=disk size=", "kind=disk size=1 wwn=%4", "kind=disk size=1 wwn=%zz",
                           "kind=disk size=1 serial=a%", "kind=disk size=1 start=x", "garbage"}) {
    const auto identity = parse_identity(line);
    ASSERT_FALSE(identity) << line;
    EXPECT_EQ(identity.error().code, Errc::corrupt) << line;
  }
}

TEST(DeviceIdentity, WhatHasToMatch) {
  struct Row {
    DeviceIdentity recorded;
    DeviceIdentity now;
    const char* differs;  // nullptr: the same device
  };
  DeviceIdentity moved = disk(4096, "w", "s");
  moved.place = "8:32";
  DeviceIdentity image = disk(4096, "", "");
  image.kind = DeviceIdentity::Kind::file;
  DeviceIdentity first_part = disk(4096, "w", "s");
  first_part.partition_start = 1048576;
  DeviceIdentity second_part = first_part;
  second_part.partition_start = 2097152;
  const Row table[] = {
      {disk(4096, "w", "s"), disk(4096, "w", "s"), nullptr},
      {disk(4096, "w", "s"), moved, nullptr},
      {disk(4096, "w", "s"), disk(8192, "w", "s"), "size"},
      {disk(4096, "w", "s"), disk(4096, "v", "s"), "WWN"},
      {disk(4096, "w", "s"), disk(4096, "w", "other bridge"), nullptr},
      {disk(4096, "", "s"), disk(4096, "w", "t"), "serial"},
      {disk(4096, "w", ""), disk(4096, "", "t"), nullptr},
      {disk(4096, "", "s"), disk(4096, "", ""), nullptr},
      {image, disk(4096, "w", "s"), nullptr},
      {first_part, first_part, nullptr},
      {first_part, second_part, "first byte"},
      {first_part, disk(4096, "w", "s"), nullptr},
  };
  for (const Row& row : table) {
    const auto result = check_same_device(row.recorded, row.now, "/dev/sdx");
    if (row.differs == nullptr) {
      EXPECT_TRUE(result) << to_line(row.recorded) << " / " << to_line(row.now) << ": " << describe(result.error());
      continue;
    }
    ASSERT_FALSE(result) << to_line(row.recorded) << " / " << to_line(row.now);
    EXPECT_EQ(result.error().code, Errc::foreign);
    EXPECT_THAT(result.error().message, HasSubstr(row.differs));
    EXPECT_THAT(result.error().message, HasSubstr("/dev/sdx"));
  }
}

TEST(DeviceIdentity, ACopyOfAFileIsTheSameMember) {
  const TempDir directory;
  std::ofstream(directory / "a") << std::string(5000, 'x');
  std::filesystem::copy_file(directory / "a", directory / "b");
  const auto a = identify_device(directory / "a");
  const auto b = identify_device(directory / "b");
  ASSERT_TRUE(a);
  ASSERT_TRUE(b);
  EXPECT_EQ(a->kind, DeviceIdentity::Kind::file);
  EXPECT_EQ(a->size, ByteCount(4608)) << "whole sectors";
  EXPECT_TRUE(check_same_device(*a, *b, "b"));
}

TEST(DeviceIdentity, WhatIsNeitherFileNorDeviceIsRefusedWithoutOpeningIt) {
  const TempDir directory;
  ASSERT_EQ(::mkfifo((directory / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(identify_device(directory / "fifo").error().code, Errc::invalid);
  EXPECT_EQ(identify_device(directory.path().string()).error().code, Errc::invalid);
  EXPECT_EQ(identify_device(directory / "absent").error().code, Errc::not_found);
}

}  // namespace
}  // namespace remapfs::testing
