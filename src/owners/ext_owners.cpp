// SPDX-License-Identifier: Apache-2.0
#include "owners/ext_owners.hpp"

#include <ext2fs/ext2fs.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <type_traits>
#include <utility>

namespace remapfs::owners {
namespace {

struct CloseFs {
  void operator()(ext2_filsys fs) const { ext2fs_close_free(&fs); }
};
using Fs = std::unique_ptr<std::remove_pointer_t<ext2_filsys>, CloseFs>;

struct CloseScan {
  void operator()(ext2_inode_scan scan) const { ext2fs_close_inode_scan(scan); }
};
using Scan = std::unique_ptr<std::remove_pointer_t<ext2_inode_scan>, CloseScan>;

// The primary superblock, then where its first copy is with each size of block.
constexpr std::array<std::pair<int, unsigned>, 4> kSuperblocks{{{0, 0}, {8193, 1024}, {16384, 2048}, {32768, 4096}}};

Result<Fs> open_fs(const std::string& disk, const FileSystem& where) {
  const std::string options = fmt::format("offset={}", where.range.begin.value());
  for (const auto& [superblock, block_size] : kSuperblocks) {
    ext2_filsys fs = nullptr;
    const int flags = EXT2_FLAG_64BITS | EXT2_FLAG_SKIP_MMP | EXT2_FLAG_IGNORE_CSUM_ERRORS | EXT2_FLAG_IGNORE_SB_ERRORS;
    const errcode_t failed =
        ext2fs_open2(disk.c_str(), options.c_str(), flags, superblock, block_size, unix_io_manager, &fs);
    if (failed == 0) return Fs(fs);
    if (fs != nullptr) ext2fs_free(fs);
  }
  return fail(Errc::corrupt, "no superblock of the file system can be read");
}

class ExtOwners {
 public:
  ExtOwners(Fs fs, const FileSystem& where)
      : fs_(std::move(fs)), where_(where), buffer_(std::size_t{3} * fs_->blocksize) {}

  Result<std::vector<Owner>> find(std::span<const SectorRun> runs) {
    for (const SectorRun& run : runs) {
      for (std::uint64_t sector = run.first; sector < run.first + run.count; ++sector) {
        wanted_.try_emplace(block_of(sector));
      }
    }
    look_at_metadata();
    if (auto looked = for_each_inode([&](ext2_ino_t inode, ext2_inode& data) { look_at_inode(inode, data); });
        !looked) {
      return fail(looked.error());
    }
    const bool all_seen = !skipped_;
    if (auto named = find_names(); !named) return fail(named.error());
    std::vector<Owner> owners;
    for (const SectorRun& run : runs) {
      for (std::uint64_t sector = run.first; sector < run.first + run.count; ++sector) {
        owners.push_back(owner_of(sector, all_seen));
      }
    }
    return merged(std::move(owners));
  }

 private:
  struct Found {
    Content content = Content::unknown;
    ext2_ino_t inode = 0;
    std::optional<std::uint64_t> offset;  // of the block in the file
    std::string what;
    bool inode_table = false;
    std::uint64_t first_inode = 0;  // of the block of the table
  };

  [[nodiscard]] std::uint64_t in_fs(std::uint64_t sector) const {
    return sector * kSectorSize - where_.range.begin.value();
  }
  [[nodiscard]] blk64_t block_of(std::uint64_t sector) const { return in_fs(sector) / fs_->blocksize; }

  void mark(blk64_t block, Content content, const char* what) {
    const auto place = wanted_.find(block);
    if (place == wanted_.end() || place->second) return;
    place->second = Found{content, 0, std::nullopt, what};
  }

  void look_at_metadata() {
    for (dgrp_t group = 0; group < fs_->group_desc_count; ++group) {
      blk64_t super = 0;
      blk64_t old_descriptors = 0;
      blk64_t new_descriptors = 0;
      blk_t used = 0;
      ext2fs_super_and_bgd_loc2(fs_.get(), group, &super, &old_descriptors, &new_descriptors, &used);
      // The first one has no number that would tell it from "none".
      if (super != 0 || group == 0)
        mark(super, Content::metadata, group == 0 ? "superblock" : "copy of the superblock");
      for (blk_t i = 0; old_descriptors != 0 && i < fs_->desc_blocks; ++i) {
        mark(old_descriptors + i, Content::metadata,
             group == 0 ? "group descriptors" : "copy of the group descriptors");
      }
      if (new_descriptors != 0) mark(new_descriptors, Content::metadata, "group descriptors");
      mark(ext2fs_block_bitmap_loc(fs_.get(), group), Content::metadata, "block bitmap");
      mark(ext2fs_inode_bitmap_loc(fs_.get(), group), Content::metadata, "inode bitmap");
      const blk64_t table = ext2fs_inode_table_loc(fs_.get(), group);
      for (auto place = wanted_.lower_bound(table);
           place != wanted_.end() && place->first < table + fs_->inode_blocks_per_group; ++place) {
        Found found{Content::metadata, 0, std::nullopt, "inode table"};
        found.inode_table = true;
        found.first_inode = std::uint64_t{group} * EXT2_INODES_PER_GROUP(fs_->super) + 1 +
                            (place->first - table) * (fs_->blocksize / EXT2_INODE_SIZE(fs_->super));
        place->second = std::move(found);
      }
    }
  }

  template <class Visit>
  Result<void> for_each_inode(Visit&& visit) {
    ext2_inode_scan raw = nullptr;
    if (ext2fs_open_inode_scan(fs_.get(), 0, &raw) != 0) return fail(Errc::no_memory);
    const Scan scan(raw);
    for (;;) {
      ext2_ino_t inode = 0;
      ext2_inode data{};
      const errcode_t failed = ext2fs_get_next_inode(scan.get(), &inode, &data);
      if (failed == EXT2_ET_BAD_BLOCK_IN_INODE_TABLE || failed == EXT2_ET_INODE_CSUM_INVALID) {
        skipped_ = true;
        continue;
      }
      // What follows cannot be reached; what was seen is right.
      if (failed != 0) skipped_ = true;
      if (failed != 0 || inode == 0) return {};
      if (data.i_links_count != 0 || inode < EXT2_FIRST_INODE(fs_->super)) visit(inode, data);
    }
  }

  struct Visit {
    ExtOwners* self;
    ext2_ino_t inode;
    Content content;
  };

  void note(blk64_t block, e2_blkcnt_t logical, ext2_ino_t inode, Content content) {
    const auto place = wanted_.find(block);
    if (place == wanted_.end() || place->second) return;
    Found found{content, inode, std::nullopt, {}};
    if (logical >= 0) {
      found.offset = static_cast<std::uint64_t>(logical) * fs_->blocksize;
    } else {
      found.content = Content::metadata;
      found.what = "block map of the file";
    }
    place->second = std::move(found);
  }

  void look_at_inode(ext2_ino_t inode, ext2_inode& data) {
    if (const blk64_t attributes = ext2fs_file_acl_block(fs_.get(), &data); attributes != 0) {
      note(attributes, 0, inode, Content::attributes);
      if (const auto place = wanted_.find(attributes); place != wanted_.end() && place->second)
        place->second->offset.reset();
    }
    if (data.i_dtime != 0 || ext2fs_inode_has_valid_blocks2(fs_.get(), &data) == 0) return;
    Content content = LINUX_S_ISDIR(data.i_mode)   ? Content::directory
                      : LINUX_S_ISLNK(data.i_mode) ? Content::link
                                                   : Content::file;
    if (inode == EXT2_JOURNAL_INO) content = Content::journal;
    if (inode == EXT2_RESIZE_INO || inode == EXT2_BAD_INO) content = Content::metadata;
    Visit visit{this, inode, content};
    const errcode_t failed = ext2fs_block_iterate3(
        fs_.get(), inode, BLOCK_FLAG_READ_ONLY, buffer_.data(),
        [](ext2_filsys, blk64_t* block, e2_blkcnt_t logical, blk64_t, int, void* raw) {
          const Visit& here = *static_cast<Visit*>(raw);
          here.self->note(*block, logical, here.inode, here.content);
          return 0;
        },
        &visit);
    if (failed != 0) skipped_ = true;
    sizes_.try_emplace(inode, EXT2_I_SIZE(&data));
  }

  // Names of the inodes that turned up, also of those whose own table is lost.
  Result<void> find_names() {
    for (const auto& [block, found] : wanted_) {
      if (!found) continue;
      if (found->inode != 0) names_[found->inode];
      if (!found->inode_table) continue;
      const std::uint64_t inodes = fs_->blocksize / EXT2_INODE_SIZE(fs_->super);
      for (std::uint64_t i = 0; i < inodes; ++i) names_[static_cast<ext2_ino_t>(found->first_inode + i)];
    }
    if (names_.empty()) return {};
    names_.erase(EXT2_ROOT_INO);
    return for_each_inode([&](ext2_ino_t inode, ext2_inode& data) {
      if (!LINUX_S_ISDIR(data.i_mode) || data.i_dtime != 0) return;
      ext2fs_dir_iterate2(
          fs_.get(), inode, 0, buffer_.data(),
          [](ext2_ino_t directory, int kind, ext2_dir_entry* entry, int, int, char*, void* raw) {
            if (kind == DIRENT_OTHER_FILE) static_cast<ExtOwners*>(raw)->note_name(directory, *entry);
            return 0;
          },
          this);
    });
  }

  void note_name(ext2_ino_t directory, const ext2_dir_entry& entry) {
    const auto place = names_.find(entry.inode);
    if (place == names_.end() || !place->second.empty()) return;
    char* folder = nullptr;
    const errcode_t failed = ext2fs_get_pathname(fs_.get(), directory, 0, &folder);
    std::string path = failed == 0 && folder != nullptr ? folder : fmt::format("<{}>", directory);
    if (folder != nullptr) ext2fs_free_mem(&folder);
    if (path == "/") path.clear();
    place->second = path + "/" + std::string(entry.name, static_cast<std::size_t>(ext2fs_dirent_name_len(&entry)));
  }

  [[nodiscard]] std::string name_of(ext2_ino_t inode) const {
    if (inode == EXT2_ROOT_INO) return "/";
    const auto place = names_.find(inode);
    return place == names_.end() ? std::string() : place->second;
  }

  // Whether the bitmap says that nobody has the block. A bitmap that cannot be read says nothing.
  [[nodiscard]] bool is_free(blk64_t block) {
    if (!bitmap_tried_) bitmap_read_ = ext2fs_read_block_bitmap(fs_.get()) == 0;
    bitmap_tried_ = true;
    return bitmap_read_ && block >= fs_->super->s_first_data_block && block < ext2fs_blocks_count(fs_->super) &&
           ext2fs_test_block_bitmap2(fs_->block_map, block) == 0;
  }

  Owner owner_of(std::uint64_t sector, bool all_seen) {
    Owner owner;
    owner.first = sector;
    owner.count = 1;
    owner.partition = where_.partition;
    owner.file_system = where_.type;
    const blk64_t block = block_of(sector);
    const std::uint64_t in_block = in_fs(sector) % fs_->blocksize;
    const std::optional<Found>& found = wanted_.at(block);
    if (!found) {
      owner.content = is_free(block) ? Content::free : Content::unknown;
      if (owner.content == Content::unknown) {
        owner.what = all_seen ? "in use, by no file that was found" : "parts of the file system cannot be read";
      }
      return owner;
    }
    owner.content = found->content;
    owner.what = found->what;
    owner.inode = found->inode;
    if (found->inode == EXT2_RESIZE_INO) owner.what = "reserved for growth";
    if (found->inode == EXT2_BAD_INO) owner.what = "list of bad blocks";
    if (found->inode != 0 && found->content != Content::journal) owner.path = name_of(found->inode);
    if (found->offset && found->content == Content::file) {
      owner.offset = *found->offset + in_block;
      if (*owner.offset >= sizes_.at(found->inode)) owner.what = "behind the end of the file";
    }
    if (found->inode_table) describe_table(*found, in_block, owner);
    return owner;
  }

  // Of the table the inodes in this very sector matter.
  void describe_table(const Found& found, std::uint64_t in_block, Owner& owner) {
    const std::uint64_t size = EXT2_INODE_SIZE(fs_->super);
    std::string names;
    for (std::uint64_t at = in_block / size * size; at < in_block + kSectorSize; at += size) {
      const auto inode = static_cast<ext2_ino_t>(found.first_inode + at / size);
      const std::string name = name_of(inode);
      if (!name.empty()) names += (names.empty() ? "" : ", ") + name;
    }
    owner.what = names.empty() ? "inode table, none in use" : "inode table: " + names;
  }

  Fs fs_;
  const FileSystem& where_;
  std::vector<char> buffer_;
  std::map<blk64_t, std::optional<Found>> wanted_;
  std::map<ext2_ino_t, std::string> names_;
  std::map<ext2_ino_t, std::uint64_t> sizes_;
  bool skipped_ = false;  // some of it could not be looked at
  bool bitmap_tried_ = false;
  bool bitmap_read_ = false;
};

}  // namespace

Result<std::vector<Owner>> ext_owners(const std::string& disk, const FileSystem& where,
                                      std::span<const SectorRun> runs) {
  auto fs = open_fs(disk, where);
  if (!fs) return fail(fs.error());
  return ExtOwners(std::move(*fs), where).find(runs);
}

}  // namespace remapfs::owners
