// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/unique_fd.hpp"
#include "remapfs/error.hpp"
#include "remapfs/map_store.hpp"
#include "store/map_reader.hpp"
#include "store/spare_format.hpp"

// Making the file of a map: for a new volume, and for one whose map was lost or is damaged.

namespace SQLite {
class Database;
}

namespace remapfs::store {

// A spare as a new map is to know it.
struct NewMapSpare {
  Superblock superblock;
  std::string path;
  std::string identity;
  Sequence sequence;
  ByteOffset begin{};  // on the device
};

struct RetiredSlot {
  SlotAddress where;
  std::string reason;  // as in the schema
  std::string at;      // empty: now
};

// What a new map is to say.
struct NewMap {
  using PutRow =
      std::function<Result<void>(const RemapRow& row, const std::string& created_at, const std::string& updated_at)>;

  std::string uuid;
  std::string label;
  std::string created_at;  // empty: now
  std::uint64_t block_size = kDefaultBlockSize;
  ByteCount size;
  std::string primary_path;
  std::string primary_identity;
  bool clean = false;
  std::vector<NewMapSpare> spares;
  std::vector<NewMapSpare>
      former;  // spares that are no longer the volume's, of which little more than the number counts
  std::vector<RetiredSlot> retired;
  std::vector<ListedEvent> events;  // id 0: the next one; no time: now
  ScrubRecord scrub;
  std::vector<SmartReading> smart;
  // Puts every row, ascending by block; nothing: there are none. Empty times mean now.
  std::function<Result<void>(const PutRow&)> rows;
};

// Fills an empty file that nobody else knows, not durably. Number and digest of the rows are counted here.
// Errors: invalid (the schema refuses something), store, no_memory, what `rows` answers.
Result<VolumeInfo> fill_map(const std::string& path, const NewMap& map);

// A file that nobody else knows: no shared memory, no journal on disk; what counts is the sync before it gets its name.
// Its folder may be somebody else's: links are not followed. And its change to the log that maps have, at the end. Both
// throw what SQLiteCpp throws.
SQLite::Database open_alone(const std::string& path);
void turn_on_log(SQLite::Database& database);

// Refuses a name that is taken, or beside which a log lies that SQLite would apply to a new map.
// Errors: exists, permission, store.
Result<void> require_free_name(const std::string& path);

// A file of mode 0600 that goes away, with what SQLite puts beside it, unless it gets its final name. Nothing gets that
// name but what was made here, whatever whoever owns the folder does meanwhile.
class TemporaryMap {
 public:
  // In the directory of `path`. Errors: not_found, permission, store.
  static Result<TemporaryMap> make_beside(const std::string& path);
  TemporaryMap(TemporaryMap&& other) noexcept;
  TemporaryMap& operator=(TemporaryMap&&) = delete;
  ~TemporaryMap();

  [[nodiscard]] const std::string& path() const { return path_; }

  // Gives the file its final name, durably, never replacing anything. Errors: exists, permission (also when somebody
  // put another file in its place), store.
  Result<void> appear_as(const std::string& name);
  // Gives the file the name of an existing one, durably, which is kept under `keep_as` together with its log.
  // For a moment there is no file of that name. Errors: exists (`keep_as` is taken), permission, store.
  Result<void> replace(const std::string& name, const std::string& keep_as);

 private:
  TemporaryMap() = default;
  // That this name is that of the file.
  [[nodiscard]] Result<void> check_name(const std::string& name) const;

  std::string directory_;
  std::string path_;
  UniqueFd file_;
};

}  // namespace remapfs::store
