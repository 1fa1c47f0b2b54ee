// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sqlite3.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "remapfs/units.hpp"
#include "sim/world.hpp"

namespace remapfs::sim {

// What SQLite has written to a file since it was last durable there.
//
// The file itself, on a real file system, always shows the newest contents; this remembers the older ones of each
// sector, so that a loss of power can bring any of them back. A write that covers part of a sector leaves the rest of
// it alone (what SQLite calls powersafe overwrite, and expects).
class UnsyncedFile {
 public:
  explicit UnsyncedFile(std::string path) : path_(std::move(path)) {}

  // Before the range changes, and with it perhaps where the file ends.
  void remember(sqlite3_file& open, std::uint64_t offset, std::uint64_t length);
  void renamed(std::string path) { path_ = std::move(path); }
  // It was not there before; its name is not durable until the first sync.
  void created() { created_ = true; }
  // Its name is taken away, not durably so.
  void deleted();
  void synced();
  // A sync failed: what it should have covered stays open, whatever later syncs say, until it is written again.
  void doubt();
  // Any of the contents that are possible, by sector; any length between.
  void lose_power(Random& random);

 private:
  using Sector = std::array<std::byte, kSectorSize>;
  struct Unsynced {
    std::vector<Sector> versions;  // oldest first; the newest is in the file
    bool in_doubt = false;
  };

  std::string path_;
  std::map<std::uint64_t, Unsynced> sectors_;
  std::vector<std::uint64_t> sizes_;
  std::optional<std::vector<std::byte>> ghost_;  // contents of a file whose deletion is not durable
  bool created_ = false;
};

// A SQLite VFS over the ordinary one, its files part of a World. It is the default while it exists, and one exists at a
// time.
class SimFiles {
 public:
  explicit SimFiles(World& world);
  ~SimFiles();
  SimFiles(const SimFiles&) = delete;
  SimFiles& operator=(const SimFiles&) = delete;

  // Power was lost. No file may be open.
  void lose_power();
  // Another name for a file.
  void renamed(const std::string& from, const std::string& to);
  // The n-th operation of a kind on files fails, counted from now; 0: none. For disks of the map that fail or fill.
  enum class What : std::uint8_t { change, anything };
  void fail_nth(What what, std::uint64_t n) {
    failing_ = what;
    until_failure_ = n;
  }
  [[nodiscard]] bool failure_is_due() const { return until_failure_ > 0; }

  [[nodiscard]] World& world() { return world_; }
  [[nodiscard]] UnsyncedFile& file(const std::string& path);
  [[nodiscard]] bool fails(What what) {
    const bool counts = failing_ == What::anything || what == What::change;
    return counts && until_failure_ > 0 && --until_failure_ == 0;
  }

 private:
  World& world_;
  What failing_ = What::change;
  std::uint64_t until_failure_ = 0;
  std::map<std::string, UnsyncedFile> files_;
  sqlite3_vfs vfs_;
};

}  // namespace remapfs::sim
