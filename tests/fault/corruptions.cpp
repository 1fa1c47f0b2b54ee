// SPDX-License-Identifier: Apache-2.0
#include "fault/corruptions.hpp"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "support/random.hpp"
#include "support/soak.hpp"

namespace remapfs::testing {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kLogHeader = 32;
constexpr std::size_t kFrame = 24 + kPage;

using Change = std::function<void(std::span<std::byte>)>;

// What can happen to a piece of something, each the same at every run.
std::vector<std::pair<std::string, Change>> damages(std::uint64_t seed) {
  return {
      {"zeroed", [](std::span<std::byte> bytes) { std::fill(bytes.begin(), bytes.end(), std::byte{0}); }},
      {"junk", [seed](std::span<std::byte> bytes) { Random(seed).fill(bytes); }},
      {"one bit flipped",
       [seed](std::span<std::byte> bytes) {
         // A bit that is set, so that it is not of the padding.
         std::size_t at = Random(seed).below(bytes.size());
         for (std::size_t i = 0; i < bytes.size() && bytes[at] == std::byte{0}; ++i) at = (at + 1) % bytes.size();
         bytes[at] ^= std::byte{1} << static_cast<int>(seed % 8);
       }},
  };
}

std::span<std::byte> piece(std::string& file, std::size_t at, std::size_t length) {
  return std::as_writable_bytes(std::span(file)).subspan(at, length);
}

// What somebody does with sqlite3 who should not.
void edit(Remains& remains, const std::string& statements) {
  const TempDir directory("/dev/shm");
  const std::string path = directory / "map";
  for (const auto& [suffix, bytes] : remains.map) {
    std::ofstream(path + suffix, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  SQLite::Database(path, SQLite::OPEN_READWRITE).exec(statements);
  remains.map.clear();
  for (const char* suffix : {"", "-wal"}) {
    std::ifstream in(path + suffix, std::ios::binary);
    if (in) remains.map[suffix] = std::string(std::istreambuf_iterator<char>(in), {});
  }
}

// The journal that a program leaves which is killed while it changes the map in the way of other databases.
std::string journal_of(const Remains& remains) {
  const TempDir directory("/dev/shm");
  const std::string path = directory / "map";
  const std::string& bytes = remains.map.at("");
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  SQLite::Database database(path, SQLite::OPEN_READWRITE);
  database.exec("PRAGMA journal_mode = DELETE; BEGIN; DELETE FROM remaps");
  if (sqlite3_db_cacheflush(database.getHandle()) != SQLITE_OK) throw std::runtime_error("no journal");
  std::ifstream in(path + "-journal", std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class Generator {
 public:
  Generator(const Specimen& specimen, const Remains& base, const Specimen& foreign)
      : specimen_(specimen), base_(base), foreign_(foreign) {}

  std::vector<Corruption> run() {
    pages_of_the_map();
    if (base_.map.contains("-wal")) pages_of_the_log();
    superblocks();
    tag_tables();
    whole_files();
    return std::move(list_);
  }

 private:
  void add(std::string name, std::function<void(Remains&)> apply) {
    list_.push_back({std::move(name), std::move(apply), nullptr, false, false});
  }

  void pages_of_the_map() {
    const std::size_t pages = base_.map.at("").size() / kPage;
    for (std::size_t page = 0; page < pages; ++page) {
      for (auto& [what, change] : damages(page)) {
        add(fmt::format("map, page {}: {}", page + 1, what),
            [page, change = change](Remains& remains) { change(piece(remains.map.at(""), page * kPage, kPage)); });
      }
      add(fmt::format("map, page {}: swapped with the next", page + 1), [page, pages](Remains& remains) {
        std::string& map = remains.map.at("");
        const std::size_t next = (page + 1) % pages;
        std::swap_ranges(map.begin() + static_cast<std::ptrdiff_t>(page * kPage),
                         map.begin() + static_cast<std::ptrdiff_t>((page + 1) * kPage),
                         map.begin() + static_cast<std::ptrdiff_t>(next * kPage));
      });
      add(fmt::format("map, page {}: truncated there", page + 1),
          [page](Remains& remains) { remains.map.at("").resize(page * kPage); });
      if (specimen_.second.map.at("").size() >= (page + 1) * kPage) {
        add(fmt::format("map, page {}: as it was before", page + 1), [&specimen = specimen_, page](Remains& remains) {
          std::copy_n(specimen.second.map.at("").begin() + static_cast<std::ptrdiff_t>(page * kPage), kPage,
                      remains.map.at("").begin() + static_cast<std::ptrdiff_t>(page * kPage));
        });
      }
    }
  }

  void pages_of_the_log() {
    const std::size_t size = base_.map.at("-wal").size();
    for (auto& [what, change] : damages(3)) {
      add(fmt::format("log, header: {}", what),
          [change = change](Remains& remains) { change(piece(remains.map.at("-wal"), 0, kLogHeader)); });
    }
    for (std::size_t at = kLogHeader, frame = 1; at + kFrame <= size; at += kFrame, ++frame) {
      // There are many of them; each is damaged in one of the ways.
      auto [what, change] = damages(frame)[frame % 3];
      add(fmt::format("log, frame {}: {}", frame, what),
          [at, change = change](Remains& remains) { change(piece(remains.map.at("-wal"), at, kFrame)); });
      if (frame % 4 == 0) {
        add(fmt::format("log, frame {}: truncated there", frame),
            [at](Remains& remains) { remains.map.at("-wal").resize(at + 100); });
      }
    }
  }

  // Adds a damage to copy A, to copy B, and to both.
  void to_copies(const std::string& where, const ByteOffset (&at)[2], std::uint64_t offset, std::size_t length,
                 const std::string& what, const Change& change) {
    for (const auto& [which, copies] : {std::pair{"A", std::pair{true, false}}, std::pair{"B", std::pair{false, true}},
                                        std::pair{"A and B", std::pair{true, true}}}) {
      add(fmt::format("spare, {} {}: {}", where, which, what),
          [places = std::array{at[0].value() + offset, at[1].value() + offset}, copies = copies, length,
           change](Remains& remains) {
            if (copies.first) change(std::span(remains.spare).subspan(places[0], length));
            if (copies.second) change(std::span(remains.spare).subspan(places[1], length));
          });
      list_.back().is_one_copy = !(copies.first && copies.second);
    }
  }
  void unreadable_copies(const std::string& where, const ByteOffset (&at)[2], std::uint64_t sector) {
    for (const auto& [which, copies] : {std::pair{"A", std::pair{true, false}}, std::pair{"B", std::pair{false, true}},
                                        std::pair{"A and B", std::pair{true, true}}}) {
      add(fmt::format("spare, {} {}: cannot be read", where, which),
          [places = std::array{at[0].value() / kSectorSize + sector, at[1].value() / kSectorSize + sector},
           copies = copies](Remains& remains) {
            if (copies.first) remains.unreadable.push_back(places[0]);
            if (copies.second) remains.unreadable.push_back(places[1]);
          });
      list_.back().is_one_copy = !(copies.first && copies.second);
    }
  }
  // The bytes of an earlier state of the spare.
  void earlier_copies(const std::string& where, const ByteOffset (&at)[2], std::uint64_t offset, std::size_t length) {
    for (const auto& [when, earlier] :
         {std::pair{"the first mount", &specimen_.first}, std::pair{"the second mount", &specimen_.second}}) {
      for (const auto& [which, copies] :
           {std::pair{"A", std::pair{true, false}}, std::pair{"B", std::pair{false, true}},
            std::pair{"A and B", std::pair{true, true}}}) {
        add(fmt::format("spare, {} {}: of {}", where, which, when),
            [places = std::array{at[0].value() + offset, at[1].value() + offset}, copies = copies, length,
             earlier = earlier](Remains& remains) {
              for (const std::size_t i : {0U, 1U}) {
                if (!(i == 0 ? copies.first : copies.second)) continue;
                std::copy_n(earlier->spare.begin() + static_cast<std::ptrdiff_t>(places[i]), length,
                            remains.spare.begin() + static_cast<std::ptrdiff_t>(places[i]));
              }
            });
        list_.back().is_one_copy = !(copies.first && copies.second);
      }
    }
  }

  void superblocks() {
    const auto& places = specimen_.layout.superblock;
    for (auto& [what, change] : damages(5)) to_copies("superblock", places, 0, kSectorSize, what, change);
    unreadable_copies("superblock", places, 0);
    earlier_copies("superblock", places, 0, kSectorSize);
    for (const std::size_t i : {0U, 1U}) {
      add(fmt::format("spare, superblock {}: of another volume", "AB"[i]),
          [&foreign = foreign_, at = places[i].value()](Remains& r) {
            std::copy_n(foreign.closed.spare.begin() + static_cast<std::ptrdiff_t>(at), kSectorSize,
                        r.spare.begin() + static_cast<std::ptrdiff_t>(at));
          });
    }
  }

  void tag_tables() {
    const auto& places = specimen_.layout.tags;
    const std::uint64_t used_sectors = 20;  // of 12 slots; beyond them no slot was ever used
    const std::uint64_t step = soaking() ? 1 : 3;
    for (std::uint64_t sector = 0; sector < used_sectors; sector += step) {
      const std::string where = fmt::format("sector {} of tag table", sector);
      for (auto& [what, change] : damages(sector)) {
        to_copies(where, places, sector * kSectorSize, kSectorSize, what, change);
      }
      unreadable_copies(where, places, sector);
      earlier_copies(where, places, sector * kSectorSize, kSectorSize);
    }
    const std::size_t whole = specimen_.layout.tag_table_bytes();
    for (auto& [what, change] : damages(9)) to_copies("tag table", places, 0, whole, what, change);
    earlier_copies("tag table", places, 0, whole);
    add("spare, tag tables A and B: exchanged", [places, whole](Remains& remains) {
      const auto a = remains.spare.begin() + static_cast<std::ptrdiff_t>(places[0].value());
      std::swap_ranges(a, a + static_cast<std::ptrdiff_t>(whole),
                       remains.spare.begin() + static_cast<std::ptrdiff_t>(places[1].value()));
    });
    add("spare, tags of slots 1 and 2: exchanged", [places](Remains& remains) {
      for (const ByteOffset table : places) {
        const auto at = remains.spare.begin() + static_cast<std::ptrdiff_t>(table.value() + store::kTagBytes);
        std::swap_ranges(at, at + store::kTagBytes, at + store::kTagBytes);
      }
    });
    // One end is gone, and the other one has missed the latest commits: it looks whole, but is old.
    const std::uint64_t ends[] = {places[0].value(), places[1].value()};
    for (const std::size_t old : {0U, 1U}) {
      add(fmt::format("spare, {} end: zeroed, the other one of the second mount", old == 0 ? "last" : "first"),
          [&specimen = specimen_, old, whole, ends = std::array{ends[0], ends[1]}](Remains& remains) {
            const auto& superblocks = specimen.layout.superblock;
            const auto zero = [&](std::uint64_t at, std::size_t length) {
              std::fill_n(remains.spare.begin() + static_cast<std::ptrdiff_t>(at), length, std::byte{0});
            };
            const auto put_back = [&](std::uint64_t at, std::size_t length) {
              std::copy_n(specimen.second.spare.begin() + static_cast<std::ptrdiff_t>(at), length,
                          remains.spare.begin() + static_cast<std::ptrdiff_t>(at));
            };
            zero(superblocks[1 - old].value(), kSectorSize);
            zero(ends[1 - old], whole);
            put_back(superblocks[old].value(), kSectorSize);
            put_back(ends[old], whole);
          });
      list_.back().is_earlier_if_accepted = true;
    }
    add("spare, first mebibyte: zeroed",
        [](Remains& remains) { std::fill_n(remains.spare.begin(), 1U << 20U, std::byte{0}); });
  }

  void whole_files() {
    files_of_the_map();
    const auto put_spare = [&](const std::string& name, const std::vector<std::byte>& spare, const Truth* earlier) {
      list_.push_back({name, [&spare](Remains& remains) { remains.spare = spare; }, earlier, false, false});
    };
    put_spare("spare: of another volume", foreign_.closed.spare, nullptr);
    put_spare("spare: of the first mount", specimen_.first.spare, &specimen_.first_truth);
    put_spare("spare: of the second mount", specimen_.second.spare, &specimen_.second_truth);
    if (&base_ == &specimen_.killed)
      put_spare("spare: of the last orderly close", specimen_.closed.spare, &specimen_.closed_truth);
    add("spare: zeroed", [](Remains& r) { std::fill(r.spare.begin(), r.spare.end(), std::byte{0}); });
    add("spare: junk", [](Remains& r) { Random(1).fill(r.spare); });
    for (const std::uint64_t part : {2, 3, 100}) {
      add(fmt::format("spare: truncated to 1/{}", part),
          [part](Remains& r) { r.spare.resize(round_down(r.spare.size() / part, kPage)); });
    }
    add("spare: the map", [](Remains& r) {
      std::memcpy(r.spare.data(), r.map.at("").data(), std::min(r.spare.size(), r.map.at("").size()));
    });
  }

  void files_of_the_map() {
    const auto put_map = [&](const std::string& name, const std::map<std::string, std::string>& map) {
      add(name, [&map](Remains& remains) { remains.map = map; });
    };
    put_map("map: of another volume", foreign_.closed.map);
    put_map("map: of the first mount", specimen_.first.map);
    put_map("map: of the second mount", specimen_.second.map);
    put_map("map: from before a mount that only marked blocks lost", specimen_.unmarked.map);
    if (&base_ == &specimen_.killed) put_map("map: of the last orderly close", specimen_.closed.map);
    add("map: of the second mount, beside the log that is there",
        [&specimen = specimen_](Remains& r) { r.map[""] = specimen.second.map.at(""); });
    add("map: with the log of a later mount",
        [&specimen = specimen_](Remains& r) { r.map["-wal"] = specimen.killed.map.at("-wal"); });
    add("map: with the log of another volume",
        [&foreign = foreign_](Remains& r) { r.map["-wal"] = foreign.killed.map.at("-wal"); });
    add("map: without its log", [](Remains& r) { r.map.erase("-wal"); });
    add("map: with a log of junk", [](Remains& r) {
      r.map["-wal"] = std::string(8192, 'x');
      Random(2).fill(piece(r.map["-wal"], 0, 8192));
    });
    for (const char* statements :
         {"DELETE FROM remaps WHERE block = 505; UPDATE volume SET row_count = row_count - 1",
          "UPDATE remaps SET valid_mask = 127 WHERE block = 505",
          "UPDATE remaps SET valid_mask = 255 WHERE block = 166", "DELETE FROM remaps WHERE block = 20",
          "UPDATE remaps SET block = 511 WHERE block = 21", "UPDATE devices SET sequence = sequence + 1 WHERE id = 1",
          "UPDATE volume SET clean = 1 - clean", "DROP TABLE events", "DROP TABLE retired_slots"}) {
      add(fmt::format("map: {}", statements), [statements](Remains& r) { edit(r, statements); });
    }
    add("map: with an index of the log of junk", [](Remains& r) { r.map["-shm"] = std::string(32768, '\x55'); });
    add("map: with a journal", [](Remains& r) { r.map["-journal"] = journal_of(r); });
    add("map: gone", [](Remains& r) { r.map.clear(); });
    add("map: empty", [](Remains& r) { r.map = {{"", ""}}; });
    add("map: zeroed", [](Remains& r) { r.map[""].assign(r.map[""].size(), '\0'); });
    add("map: junk", [](Remains& r) { Random(3).fill(piece(r.map[""], 0, r.map[""].size())); });
    add("map: the spare", [](Remains& r) {
      r.map[""].assign(r.spare.size(), '\0');
      std::memcpy(r.map[""].data(), r.spare.data(), r.spare.size());
    });
  }

  const Specimen& specimen_;
  const Remains& base_;
  const Specimen& foreign_;
  std::vector<Corruption> list_;
};

}  // namespace

std::vector<Corruption> all_corruptions(const Specimen& specimen, const Remains& base, const Specimen& foreign) {
  return Generator(specimen, base, foreign).run();
}

}  // namespace remapfs::testing
