// SPDX-License-Identifier: Apache-2.0
#include "store/check.hpp"

#include <algorithm>
#include <array>

#include "unit/store/store_fixture.hpp"

namespace remapfs::store {
namespace {

class Check : public StoreTest {
 protected:
  void create_with_rows() {
    create();
    open();
    commit({{put_remapped(1, 1), put_remapped(2, 2), put_lost(3, 0)}, {}, {}});
    close();
  }
  [[nodiscard]] static bool has(const std::vector<Finding>& list, Finding::Severity severity,
                                const std::string& subject, const std::string& words) {
    return std::any_of(list.begin(), list.end(), [&](const Finding& finding) {
      return finding.severity == severity && finding.subject == subject &&
             finding.text.find(words) != std::string::npos;
    });
  }
  using enum Finding::Severity;
};

TEST_F(Check, FindsNothingInAGoodVolumeAndWritesNothing) {
  create_with_rows();
  const auto map = save_map();
  const auto bytes = save_spare();
  EXPECT_TRUE(findings().empty());
  EXPECT_EQ(save_map().content, map.content);
  EXPECT_EQ(save_spare(), bytes);
}

TEST_F(Check, NamesEveryFindingInsteadOfStoppingAtTheFirst) {
  create_with_rows();
  sql("UPDATE remaps SET slot = 5 WHERE block = 1; DELETE FROM remaps WHERE block = 3");
  const std::array byte{std::byte{0x77}};
  spare().poke(layout().superblock[1] + 50, byte);
  spare().poke(ByteOffset(tag_sector(Copy::b, 2) * kSectorSize + 85), byte);
  const auto list = findings();
  EXPECT_TRUE(has(list, error, "volume", "2 rows are there, 3 should be"));
  EXPECT_TRUE(has(list, error, "volume", "digest"));
  EXPECT_TRUE(has(list, error, "tag", "slot 5: the map says block 1"));
  EXPECT_TRUE(has(list, mended, "tag", "slot 1: a tag without a row"));
  EXPECT_TRUE(has(list, mended, "tag", "slot 2: one copy"));
  EXPECT_TRUE(has(list, mended, "superblock", "superblock B is damaged"));
  EXPECT_EQ(list.size(), 6U);
}

TEST_F(Check, NamesAHundredOfAKindAndCountsTheRest) {
  create_with_rows();
  open();
  MapTransaction transaction;
  for (std::uint64_t i = 0; i < 300; ++i) transaction.changes.push_back(put_remapped(100 + i, 100 + i));
  commit(transaction);
  close();
  sql("UPDATE remaps SET sequence = sequence + 100 WHERE block >= 100");
  const auto list = findings();
  EXPECT_TRUE(has(list, error, "row", "200 more like these"));
  EXPECT_EQ(std::count_if(list.begin(), list.end(), [](const Finding& finding) { return finding.subject == "row"; }),
            101);
}

TEST_F(Check, AfterACrashEverythingIsMendable) {
  create_with_rows();
  open();
  spare().cut_power_after(7);
  ASSERT_FALSE(store().commit({{move(2, 2, 9)}, {}, {}}).has_value());
  kill();
  spare().crash_all_lost();
  const auto list = findings();
  EXPECT_FALSE(list.empty());
  EXPECT_TRUE(has(list, mended, "watermark", "one commit behind"));
  EXPECT_TRUE(std::all_of(list.begin(), list.end(), [](const Finding& f) { return f.severity == mended; }));
}

TEST_F(Check, MissingSpareIsNoted) {
  create_with_rows();
  const auto list = check_map(map_path(), {});
  ASSERT_OK(list);
  ASSERT_EQ(list->size(), 1U);
  EXPECT_TRUE(has(*list, note, "spare", "was not looked at"));
}

TEST_F(Check, MountedMapIsBusy) {
  create_with_rows();
  open();
  EXPECT_EQ(check_map(map_path(), {}).error().code, Errc::busy);
}

TEST_F(Check, DeviceThatCannotBeReadIsAFinding) {
  create_with_rows();
  spare().set_outage(testing::Outage::gone);
  const auto list = findings();
  EXPECT_EQ(list.size(), 1U);
  EXPECT_TRUE(has(list, error, "superblock", "cannot be read"));
}

}  // namespace
}  // namespace remapfs::store
