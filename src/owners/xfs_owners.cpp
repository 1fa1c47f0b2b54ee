// SPDX-License-Identifier: Apache-2.0
#include "owners/xfs_owners.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <string_view>

namespace remapfs::owners {
namespace {

// The number after `word` and a blank or " = ".
std::optional<std::uint64_t> number_after(std::string_view text, std::string_view word) {
  const std::size_t at = text.find(word);
  if (at == std::string_view::npos) return std::nullopt;
  const char* begin = text.data() + at + word.size();
  const char* const end = text.data() + text.size();
  while (begin < end && (*begin == ' ' || *begin == '=')) ++begin;
  std::uint64_t value = 0;
  const auto [rest, error] = std::from_chars(begin, end, value);
  if (error != std::errc() || rest == begin) return std::nullopt;
  return value;
}

// "(3/15)"
bool parse_place(std::string_view text, std::uint64_t& group, std::uint64_t& block) {
  const std::size_t open = text.find('(');
  const std::size_t slash = text.find('/', open);
  if (open == std::string_view::npos || slash == std::string_view::npos) return false;
  const char* const end = text.data() + text.size();
  return std::from_chars(text.data() + open + 1, end, group).ec == std::errc() &&
         std::from_chars(text.data() + slash + 1, end, block).ec == std::errc();
}

Content content_of(const std::string& type) {
  if (type == "data" || type == "rtdata") return Content::file;
  if (type == "dir") return Content::directory;
  if (type == "symlink") return Content::link;
  if (type == "attr") return Content::attributes;
  if (type == "log") return Content::journal;
  if (type == "free1" || type == "free2" || type == "rtfree") return Content::free;
  if (type == "missing" || type == "unknown") return Content::unknown;
  return Content::metadata;
}

std::string words_of(const std::string& type) {
  static const std::map<std::string, std::string> kWords{{"sb", "superblock"},
                                                         {"agf", "free space header"},
                                                         {"agi", "inode header"},
                                                         {"agfl", "free list"},
                                                         {"btbno", "free space tree"},
                                                         {"btcnt", "free space tree"},
                                                         {"btino", "inode tree"},
                                                         {"btfino", "inode tree"},
                                                         {"btrmap", "reverse map"},
                                                         {"btrefcnt", "reference counts"},
                                                         {"freelist", "free list"},
                                                         {"inode", "inodes"},
                                                         {"btbmapd", "block map of the file"},
                                                         {"btbmapa", "block map of the attributes"},
                                                         {"quota", "quota"}};
  const auto words = kWords.find(type);
  return words == kWords.end() ? type : words->second;
}

struct Place {
  std::uint64_t group = 0;
  std::uint64_t block = 0;
  friend auto operator<=>(const Place&, const Place&) = default;
};

// Asks many things at once. Names can contain anything, even lines that look like answers: each answer stands between
// two marks that nobody could know.
class Questions {
 public:
  Questions() {
    std::random_device random;
    mark_ = fmt::format("@{:08x}{:08x}{:08x}", random(), random(), random());
  }
  void begin(const std::string& commands) { script_ += commands; }
  void add(const std::string& commands) { script_ += fmt::format("echo {}\n{}", mark_, commands); }

  // The answers in order. Errors: those of ask.
  Result<std::vector<std::string>> ask(const AskXfs& ask) {
    auto text = ask(script_ + fmt::format("echo {}\n", mark_));
    if (!text) return fail(text.error());
    std::vector<std::string> answers;
    std::size_t from = text->find(mark_);
    before_ = text->substr(0, from);
    while (from != std::string::npos) {
      const std::size_t line = text->find('\n', from);
      const std::size_t next = line == std::string::npos ? line : text->find(mark_, line);
      if (next == std::string::npos) break;
      answers.push_back(text->substr(line + 1, next - line - 1));
      from = next;
    }
    return answers;
  }
  // What was printed before the first answer.
  [[nodiscard]] const std::string& before() const { return before_; }

 private:
  std::string mark_;
  std::string script_;
  std::string before_;
};

class XfsOwners {
 public:
  XfsOwners(const FileSystem& where, const AskXfs& ask) : where_(where), ask_(ask) {}

  Result<std::vector<Owner>> find(std::span<const SectorRun> runs) {
    auto superblock = ask_("sb 0\np\n");
    if (!superblock) return fail(superblock.error());
    const auto geometry = parse_xfs_superblock(*superblock);
    if (!geometry) return fail(Errc::corrupt, "xfs_db cannot read the superblock");
    geometry_ = *geometry;
    std::set<Place> places;
    for (const SectorRun& run : runs) {
      for (std::uint64_t sector = run.first; sector < run.first + run.count; ++sector) {
        if (places.size() < kMostXfsBlocks) places.insert(place_of(sector));
      }
    }
    if (auto asked = ask_uses(places); !asked) return fail(asked.error());
    if (auto asked = ask_extents(); !asked) return fail(asked.error());
    std::vector<Owner> owners;
    for (const SectorRun& run : runs) {
      for (std::uint64_t sector = run.first; sector < run.first + run.count; ++sector)
        owners.push_back(owner_of(sector));
    }
    return merged(std::move(owners));
  }

 private:
  [[nodiscard]] std::uint64_t in_fs(std::uint64_t sector) const {
    return sector * kSectorSize - where_.range.begin.value();
  }
  [[nodiscard]] Place place_of(std::uint64_t sector) const {
    const std::uint64_t block = in_fs(sector) / geometry_.block_size;
    return {block / geometry_.ag_blocks, block % geometry_.ag_blocks};
  }

  Result<void> ask_uses(const std::set<Place>& places) {
    Questions questions;
    questions.begin("blockget -n\n");
    for (const Place& place : places) {
      questions.add(fmt::format("fsblock {}\nblockuse -n\n", place.group << geometry_.ag_block_bits | place.block));
    }
    const auto answers = questions.ask(ask_);
    if (!answers) return fail(answers.error());
    std::size_t i = 0;
    for (const Place& place : places) {
      if (i == answers->size()) break;
      const std::string& answer = (*answers)[i++];
      if (answer.find("must run blockget first") != std::string::npos) {
        return fail(Errc::busy, "the log of the file system is not clean, mount and unmount it, then ask again");
      }
      auto use = parse_xfs_use(answer);
      // An answer about another place is none.
      if (use && use->group == place.group && use->block == place.block) uses_.emplace(place, std::move(*use));
    }
    return {};
  }

  Result<void> ask_extents() {
    std::set<std::uint64_t> inodes;
    for (const auto& [place, use] : uses_) {
      if (use.type == "data" && use.inode != 0) inodes.insert(use.inode);
    }
    if (inodes.empty()) return {};
    Questions questions;
    for (const std::uint64_t inode : inodes) questions.add(fmt::format("inode {}\np core.size\nbmap -d\n", inode));
    const auto answers = questions.ask(ask_);
    if (!answers) return fail(answers.error());
    std::size_t i = 0;
    for (const std::uint64_t inode : inodes) {
      if (i == answers->size()) break;
      files_[inode] = {number_after((*answers)[i], "core.size"), parse_xfs_bmap((*answers)[i])};
      ++i;
    }
    return {};
  }

  Owner owner_of(std::uint64_t sector) const {
    Owner owner;
    owner.first = sector;
    owner.count = 1;
    owner.partition = where_.partition;
    owner.file_system = where_.type;
    const Place place = place_of(sector);
    const auto use = uses_.find(place);
    if (use == uses_.end()) {
      owner.what = "xfs_db tells nothing of it";
      return owner;
    }
    owner.content = content_of(use->second.type);
    owner.inode = use->second.inode;
    if (owner.inode != 0 && !use->second.path.empty()) owner.path = "/" + use->second.path;
    if (owner.content == Content::metadata) owner.what = words_of(use->second.type);
    if (owner.content == Content::unknown) owner.what = "in use, by no file that was found";
    const auto file = files_.find(owner.inode);
    if (owner.content != Content::file || file == files_.end()) return owner;
    for (const XfsExtent& extent : file->second.extents) {
      if (extent.group != place.group || place.block < extent.block || place.block >= extent.block + extent.count)
        continue;
      owner.offset =
          (extent.offset + place.block - extent.block) * geometry_.block_size + in_fs(sector) % geometry_.block_size;
      if (file->second.size && *owner.offset >= *file->second.size) owner.what = "behind the end of the file";
      return owner;
    }
    // It belongs to the file, and holds none of its data.
    owner.content = Content::metadata;
    owner.what = "block map of the file";
    return owner;
  }

  struct File {
    std::optional<std::uint64_t> size;
    std::vector<XfsExtent> extents;
  };
  const FileSystem& where_;
  const AskXfs& ask_;
  XfsGeometry geometry_;
  std::map<Place, XfsUse> uses_;
  std::map<std::uint64_t, File> files_;
};

}  // namespace

std::optional<XfsGeometry> parse_xfs_superblock(const std::string& text) {
  const auto block_size = number_after(text, "\nblocksize");
  const auto ag_blocks = number_after(text, "\nagblocks");
  const auto bits = number_after(text, "\nagblklog");
  const auto groups = number_after(text, "\nagcount");
  const bool sound = block_size && *block_size >= kSectorSize && *block_size <= 65536 && ag_blocks && *ag_blocks != 0 &&
                     bits && *bits < 32 && groups && *ag_blocks <= std::uint64_t{1} << *bits;
  if (!sound) return std::nullopt;
  return XfsGeometry{*block_size, *ag_blocks, *bits, *groups};
}

std::optional<XfsUse> parse_xfs_use(const std::string& text) {
  // block 24 (0/24) type data inode 132 d1/name: the name goes on to the end, whatever is in it.
  std::size_t at = text.starts_with("block ") ? 0 : text.find("\nblock ");
  if (at == std::string::npos) return std::nullopt;
  if (at != 0) ++at;
  const std::string_view line = std::string_view(text).substr(at);
  XfsUse use;
  const std::size_t type = line.find(") type ");
  if (type == std::string_view::npos || !parse_place(line, use.group, use.block)) return std::nullopt;
  std::string_view rest = line.substr(type + 7);
  const std::size_t end = rest.find_first_of(" \n");
  use.type = std::string(rest.substr(0, end));
  if (use.type.empty()) return std::nullopt;
  if (end == std::string_view::npos || rest[end] == '\n') return use;
  rest.remove_prefix(end + 1);
  constexpr std::string_view kInode = "inode ";
  if (!rest.starts_with(kInode)) return use;
  rest.remove_prefix(kInode.size());
  const auto [after, error] = std::from_chars(rest.data(), rest.data() + rest.size(), use.inode);
  if (error != std::errc()) return std::nullopt;
  rest.remove_prefix(static_cast<std::size_t>(after - rest.data()));
  if (rest.ends_with('\n')) rest.remove_suffix(1);
  if (rest.starts_with(' ')) use.path = std::string(rest.substr(1));
  return use;
}

std::vector<XfsExtent> parse_xfs_bmap(const std::string& text) {
  // data offset 1280 startblock 67 (0/67) count 2 flag 0
  std::vector<XfsExtent> extents;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("data offset ")) continue;
    XfsExtent extent;
    const auto offset = number_after(line, "offset");
    const auto count = number_after(line, ") count");
    if (!offset || !count || !parse_place(line, extent.group, extent.block)) continue;
    extent.offset = *offset;
    extent.count = *count;
    extents.push_back(extent);
  }
  return extents;
}

Result<std::vector<Owner>> xfs_owners(const FileSystem& where, std::span<const SectorRun> runs, const AskXfs& ask) {
  return XfsOwners(where, ask).find(runs);
}

}  // namespace remapfs::owners
