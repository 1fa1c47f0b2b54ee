// SPDX-License-Identifier: Apache-2.0
#include "store/recover.hpp"

#include <algorithm>
#include <array>
#include <filesystem>

#include "store/surviving_tags.hpp"
#include "unit/store/store_fixture.hpp"

// What a spare says without its map, where it was left by something else than damage. tests/fault/corruption_test.cpp
// has the damage.

namespace remapfs::store {
namespace {

class Recover : public StoreTest {
 protected:
  // Blocks 1, 2 and 3 in slots 1, 2 and 3; block 4 lost.
  void create_with_rows() {
    create();
    open();
    commit({{put_remapped(1, 1), put_remapped(2, 2), put_remapped(3, 3), put_lost(4, 0)}, {}, {}});
    close();
    watermark_ = superblock_on_disk(Copy::a).watermark;
    spare_uuid_ = superblock_on_disk(Copy::a).spare;
  }
  void write_tag(std::uint64_t slot, const Tag& tag) {
    for (const Copy copy : kCopies) write_tag(copy, slot, tag);
  }
  void write_tag(Copy copy, std::uint64_t slot, const Tag& tag) {
    std::array<std::byte, kTagBytes> bytes{};
    encode_tag(tag, spare_uuid_, SlotIndex(slot), bytes);
    spare().poke(ByteOffset(tag_sector(copy, slot) * kSectorSize + tag_place(SlotIndex(slot)).in_sector), bytes);
  }
  [[nodiscard]] static Tag used(std::uint64_t block, Sequence sequence, SectorMask valid = 0xFF) {
    return {Tag::Kind::used, BlockIndex(block), sequence, valid, 0xFF};
  }
  [[nodiscard]] SurvivingTags survivors() {
    auto tags = read_surviving_tags(spare());
    EXPECT_TRUE(tags.has_value()) << describe(tags.error());
    return tags ? std::move(*tags) : SurvivingTags{};
  }
  [[nodiscard]] static std::vector<std::uint64_t> blocks(const SurvivingTags& tags) {
    std::vector<std::uint64_t> list;
    for (const RemapRow& row : tags.rows) list.push_back(row.block.value());
    return list;
  }
  using Blocks = std::vector<std::uint64_t>;

  [[nodiscard]] RecoverySpec spec(bool accept_stale = false) {
    RecoverySpec spec;
    spec.map_path = directory_ / "new.map";
    spec.primary_path = "/primary";
    spec.primary_identity = "disk of a test";
    spec.primary_size = ByteCount(100'000 * 4096);
    spec.spares.push_back({spare_.get(), "/spare", ""});
    spec.accept_stale = accept_stale;
    return spec;
  }

  Sequence watermark_;
  Uuid spare_uuid_;
};

TEST_F(Recover, RowsAreThoseOfTheMapButForWhatOnlyTheMapKnows) {
  create_with_rows();
  const auto recovered = recover_map(spec());
  ASSERT_TRUE(recovered.has_value()) << describe(recovered.error().error);
  EXPECT_TRUE(recovered->proven);
  EXPECT_TRUE(recovered->doubts.empty());
  EXPECT_EQ(recovered->info.rows, 3U);
  open({.read_only = true});
  Rows expected = rows();
  expected.erase(BlockIndex(4));
  kill();
  map_path_ = directory_ / "new.map";
  open();
  ASSERT_EQ(rows().size(), expected.size());
  for (const auto& [block, row] : rows()) {
    EXPECT_EQ(row.mapping(), expected.at(block).mapping());
    EXPECT_EQ(row.sequence, expected.at(block).sequence);
    EXPECT_EQ(row.cause, Cause::recovered);
  }
  commit({{put_remapped(9, 9)}, {}, {}});
  close();
  EXPECT_TRUE(findings().empty());
}

TEST_F(Recover, TagsThatCannotBeReadAreNamedAndRefusedUnlessAccepted) {
  create_with_rows();
  for (const Copy copy : kCopies) spare().add_bad_sectors(tag_sector(copy, 2), 1);
  const auto refused = recover_map(spec());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().error.code, Errc::stale);
  EXPECT_NE(refused.error().error.message.find("--accept-stale"), std::string::npos) << refused.error().error.message;
  const auto named = [](const std::vector<std::string>& doubts, const std::string& words) {
    return std::count(doubts.begin(), doubts.end(), words) == 1;
  };
  for (const int slot : {1, 2, 3}) {
    EXPECT_TRUE(
        named(refused.error().doubts, "spare /spare, slot " + std::to_string(slot) + ": tags A and B cannot be read"))
        << ::testing::PrintToString(refused.error().doubts);
  }
  EXPECT_FALSE(std::filesystem::exists(directory_ / "new.map"));
  const auto accepted = recover_map(spec(/*accept_stale=*/true));
  ASSERT_TRUE(accepted.has_value()) << describe(accepted.error().error);
  EXPECT_FALSE(accepted->proven);
  EXPECT_EQ(accepted->doubts, refused.error().doubts);
}

TEST_F(Recover, OneReadableCopyOfTheTagsIsEnough) {
  create_with_rows();
  spare().add_bad_sectors(tag_sector(Copy::b, 2), 1);
  const auto recovered = recover_map(spec());
  ASSERT_TRUE(recovered.has_value());
  EXPECT_TRUE(recovered->proven);
  EXPECT_EQ(recovered->info.rows, 3U);
}

TEST_F(Recover, TagOfACutOffCommitInAFreeSlotIsNotUsed) {
  create_with_rows();
  write_tag(9, used(77, watermark_ + 1));
  const auto tags = survivors();
  EXPECT_TRUE(tags.proven);
  EXPECT_EQ(blocks(tags), (Blocks{1, 2, 3}));
}

TEST_F(Recover, MoveThatWasCutOffLeavesTheBlockInItsOldSlot) {
  create_with_rows();
  write_tag(9, used(2, watermark_ + 1));
  const auto tags = survivors();
  EXPECT_TRUE(tags.proven);
  ASSERT_EQ(blocks(tags), (Blocks{1, 2, 3}));
  EXPECT_EQ(tags.rows[1].where.slot, SlotIndex(2));
}

TEST_F(Recover, ChangeThatWasCutOffInTheBlocksOwnSlotIsUndoneByTheOtherCopy) {
  create_with_rows();
  write_tag(Copy::a, 2, used(2, watermark_ + 1, 0x0F));
  const auto tags = survivors();
  EXPECT_TRUE(tags.proven);
  EXPECT_EQ(tags.rows.at(1).valid_mask, 0xFFU);
}

TEST_F(Recover, BlockWhoseOnlyTagWasCutOffAnswersWithErrorsWhenAccepted) {
  create_with_rows();
  write_tag(2, used(2, watermark_ + 1));
  EXPECT_FALSE(survivors().proven);
  const auto refused = recover_map(spec());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().error.code, Errc::stale);
  EXPECT_TRUE(std::any_of(refused.error().doubts.begin(), refused.error().doubts.end(), [](const std::string& doubt) {
    return doubt.find("slot 2: a change of block 2 was cut off") != std::string::npos;
  }));
  EXPECT_FALSE(std::filesystem::exists(directory_ / "new.map"));

  ASSERT_TRUE(recover_map(spec(true)).has_value());
  map_path_ = directory_ / "new.map";
  open();
  const RemapRow& row = rows().at(BlockIndex(2));
  EXPECT_EQ(row.where.slot, SlotIndex(2));
  EXPECT_EQ(row.valid_mask, 0U) << "neither the slot nor the primary may be served";
  EXPECT_EQ(row.written_mask, 0U) << "and no retest may say otherwise";
}

TEST_F(Recover, RemovedBlockWhoseTagWasNotClearedYetDoesNotComeBack) {
  create_with_rows();
  const Tag before = tag_on_disk(Copy::a, 2);
  open();
  commit({{erase(2)}, {}, {}});
  close();
  write_tag(2, before);
  const auto tags = survivors();
  EXPECT_TRUE(tags.proven);
  EXPECT_EQ(blocks(tags), (Blocks{1, 3}));
}

TEST_F(Recover, CommitThatOnlyADamagedSuperblockKnewOfIsNotForgotten) {
  create_with_rows();
  const auto old_superblock = spare().peek({layout().superblock[1], layout().superblock[1] + kSuperblockBytes});
  open();
  commit({{put_remapped(5, 5)}, {}, {}});
  close();
  // Copy B missed the last writes, and copy A is gone.
  spare().poke(layout().superblock[1], old_superblock);
  write_tag(Copy::b, 5, Tag{});
  spare().poke(ByteOffset(0), std::vector<std::byte>(kSuperblockBytes));
  EXPECT_FALSE(read_surviving_tags(spare()).has_value()) << "a tag from after the superblock";
  write_tag(Copy::a, 5, Tag{});
  write_tag(Copy::a, 3, Tag{});
  EXPECT_FALSE(survivors().proven) << "what copy B says is whole, and old";
}

TEST_F(Recover, TagsThatAreWholeButNotThoseOfTheSuperblockAreRefusedEvenIfAccepted) {
  create_with_rows();
  write_tag(2, Tag{});
  const auto refused = recover_map(spec(true));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().error.code, Errc::corrupt);
}

TEST_F(Recover, AnotherPrimaryIsRefused) {
  create_with_rows();
  RecoverySpec other = spec();
  other.primary_size = ByteCount(100'001 * 4096);
  EXPECT_EQ(recover_map(other).error().error.code, Errc::foreign);
  other = spec();
  other.check_primary = [](const std::string& remembered) -> Result<void> {
    EXPECT_EQ(remembered, "disk of a test");
    return fail(Errc::foreign, "another");
  };
  EXPECT_EQ(recover_map(other).error().error.code, Errc::foreign);
}

// What a failed write or another primary has in place of lost sectors would be taken for data.
TEST_F(Recover, LossesThatOnlyTheMapKnowsAndReadingDoesNotShowAreADoubt) {
  create_with_rows();
  for (const Cause cause : {Cause::write_error, Cause::replaced}) {
    open();
    MapChange change = put_lost(4, 0);
    change.row.cause = cause;
    commit({{change}, {}, {}});
    EXPECT_TRUE(superblock_on_disk(Copy::a).hides_losses) << "before anything else is written";
    kill();
    const auto refused = recover_map(spec());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().error.code, Errc::stale);
    ASSERT_FALSE(refused.error().doubts.empty());
    EXPECT_NE(refused.error().doubts.front().find("only the map knew which"), std::string::npos);
    open();
    EXPECT_TRUE(superblock_on_disk(Copy::a).hides_losses);
    // Written again, they are lost no more; the next mount at the latest says so.
    commit({{erase(4)}, {}, {}});
    close();
    open();
    close();
    EXPECT_FALSE(superblock_on_disk(Copy::a).hides_losses);
  }
  ASSERT_TRUE(recover_map(spec()).has_value());
}

TEST_F(Recover, LargerPrimaryIsKnownByItsIdentity) {
  create_with_rows();
  RecoverySpec larger = spec();
  larger.primary_size = ByteCount(larger.primary_size.value() + 4096);
  EXPECT_FALSE(recover_map(larger)) << "nobody says that it is the one";
  larger.check_primary = [](const std::string& remembered) -> Result<void> {
    return remembered == "disk of a test" ? Result<void>() : fail(Errc::foreign);
  };
  const auto recovered = recover_map(larger);
  ASSERT_TRUE(recovered) << describe(recovered.error().error);
  EXPECT_EQ(recovered->info.size.value(), 100'000U * 4096);
}

TEST_F(Recover, ASpareAtTheEndOfADiskIsFoundByItsLastSuperblock) {
  create();
  const auto bytes = save_spare();
  constexpr std::uint64_t kBegin = 5 * kMiB;
  const auto disk_with = [&](std::uint64_t begin, std::uint64_t behind) {
    auto disk = std::make_unique<testing::FakeDisk>(ByteCount(begin + bytes.size() + behind));
    disk->poke(ByteOffset(begin), bytes);
    return disk;
  };
  const auto disk = disk_with(kBegin, 0);
  EXPECT_EQ(*find_spare(*disk, true), ByteOffset(kBegin));
  EXPECT_EQ(*find_spare(*disk, false), ByteOffset(kBegin));
  EXPECT_EQ(*find_spare(*disk_with(kBegin, 1536), true), ByteOffset(kBegin)) << "an end off the grid is not used";
  // By itself, grown or not.
  EXPECT_EQ(*find_spare(*spare_, false), ByteOffset(0));
  EXPECT_EQ(*find_spare(*disk_with(0, 4 * kMiB), false), ByteOffset(0));

  // Nothing else is taken for one.
  EXPECT_EQ(find_spare(*spare_, true).error().code, Errc::foreign) << "no disk is before it";
  EXPECT_EQ(find_spare(*disk_with(kBegin + 4096, 0), true).error().code, Errc::foreign) << "off the grid";
  EXPECT_EQ(find_spare(*disk_with(kBegin, 4096), true).error().code, Errc::not_found) << "not at the end";
  disk->add_bad_sectors((kBegin + bytes.size() - 4096) / kSectorSize, 1, testing::FaultRule::On::read);
  const auto unreadable = find_spare(*disk, true);
  EXPECT_EQ(unreadable.error().code, Errc::media);
  EXPECT_NE(unreadable.error().message.find("add --reserve"), std::string::npos) << unreadable.error().message;
  // Both: whoever asks for a spare gets the one at the beginning, who has a disk there the one at the end.
  const auto both = disk_with(0, 4 * kMiB);
  auto second = std::vector<std::byte>(bytes);
  both->poke(ByteOffset(4 * kMiB), second);
  EXPECT_EQ(*find_spare(*both, true), ByteOffset(4 * kMiB));
}

TEST_F(Recover, NameThatIsTakenIsRefused) {
  create_with_rows();
  RecoverySpec same = spec();
  same.map_path = map_path();
  const auto before = save_map();
  EXPECT_EQ(recover_map(same).error().error.code, Errc::exists);
  EXPECT_EQ(save_map().content, before.content);
}

}  // namespace
}  // namespace remapfs::store
