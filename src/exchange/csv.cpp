// SPDX-License-Identifier: Apache-2.0
#include "exchange/csv.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "exchange/number.hpp"

namespace remapfs::exchange {
namespace {

enum Column : std::size_t {
  block,
  offset,
  state,
  spare_id,
  slot,
  valid_mask,
  written_mask,
  sequence,
  cause,
  error_count,
  created_at,
  updated_at,
  block_size,
  column_count,
};
constexpr std::array<std::string_view, column_count> kNames{
    "block",    "offset", "state",       "spare_id",   "slot",       "valid_mask", "written_mask",
    "sequence", "cause",  "error_count", "created_at", "updated_at", "block_size"};
constexpr std::string_view kAdvice = "export one to see the format";
constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

// The fields of a line; nothing when its quotes do not fit.
std::optional<std::vector<std::string>> split(std::string_view line) {
  std::vector<std::string> fields;
  for (;;) {
    std::string field;
    if (line.starts_with('"')) {
      for (line.remove_prefix(1);; line.remove_prefix(1)) {
        if (line.empty()) return std::nullopt;
        const bool quote = line.front() == '"';
        if (quote && !line.substr(1).starts_with('"')) break;
        if (quote) line.remove_prefix(1);
        field += line.front();
      }
      line.remove_prefix(1);
    } else {
      field = line.substr(0, line.find(','));
      if (field.find('"') != std::string::npos) return std::nullopt;
      line.remove_prefix(field.size());
    }
    fields.push_back(std::move(field));
    if (line.empty()) return fields;
    if (line.front() != ',') return std::nullopt;
    line.remove_prefix(1);
  }
}

// "0xff", "255" or, as the map has 64 sectors, "-1".
std::optional<SectorMask> parse_mask(std::string_view text) {
  if (text.starts_with("0x") || text.starts_with("0X")) return parse_number(text.substr(2), 16);
  if (!text.starts_with('-')) return parse_number(text, 10);
  const auto magnitude = parse_number(text.substr(1), 10);
  if (!magnitude || *magnitude == 0 || *magnitude > kMax / 2 + 1) return std::nullopt;
  return ~*magnitude + 1;
}

// Where each column is in the file.
using Places = std::array<std::optional<std::size_t>, column_count>;

Result<Places> read_header(const std::vector<std::string>& names, const LineReader& lines) {
  Places places;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto* const known = std::find(kNames.begin(), kNames.end(), names[i]);
    if (known == kNames.end()) {
      return lines.refuse(fmt::format("unknown column {}", i + 1), "the first line names columns of remapfs list");
    }
    auto& place = places[static_cast<std::size_t>(known - kNames.begin())];
    if (place) return lines.refuse(fmt::format("column {} is there twice", *known), kAdvice);
    place = i;
  }
  if (!places[state] || (!places[block] && !places[offset])) {
    return lines.refuse("no column state, or neither block nor offset", kAdvice);
  }
  return places;
}

// One line of entries under a header.
class Entry {
 public:
  Entry(const Places& places, const std::vector<std::string>& fields, const LineReader& lines)
      : places_(places), fields_(fields), lines_(lines) {}

  // Errors: invalid.
  Result<void> add_to(DamageList& list, std::uint64_t default_block_size, CsvNotes& notes) const {
    const auto size = number(block_size, default_block_size);
    if (!size || !BlockGeometry::is_valid_block_size(*size)) {
      return lines_.refuse("not a block size", "write a power of two, 512 to 32768");
    }
    const BlockGeometry geometry(*size);
    const auto begin = begin_of_block(geometry);
    if (!begin) return fail(begin.error());
    auto lost = lost_sectors(geometry, notes);
    if (!lost) return fail(std::move(lost.error()));
    const auto add = [&](unsigned first, unsigned last, Damage damage) {
      const std::uint64_t from = *begin + first * kSectorSize;
      std::uint64_t to = *begin + last * kSectorSize;
      // The last block of a disk may be partial.
      if (const std::uint64_t disk = list.disk_size().value(); *begin < disk) to = std::min(to, disk);
      return list.add(from, to, damage, lines_.number());
    };
    if (*lost == 0) return add(0, geometry.sectors_per_block(), Damage::weak);
    for (unsigned first = 0; first < geometry.sectors_per_block();) {
      unsigned last = first;
      while (last < geometry.sectors_per_block() && (*lost >> last & 1U) != 0) ++last;
      if (auto added = add(first, last, Damage::lost); !added) return added;
      first = last + 1;
    }
    return {};
  }

 private:
  [[nodiscard]] std::string_view text(Column column) const {
    return places_[column] ? std::string_view(fields_[*places_[column]]) : std::string_view();
  }
  [[nodiscard]] std::optional<std::uint64_t> number(Column column, std::optional<std::uint64_t> otherwise) const {
    return text(column).empty() ? otherwise : parse_number(text(column), 10);
  }

  [[nodiscard]] Result<std::uint64_t> begin_of_block(const BlockGeometry& geometry) const {
    // So far below 64 bits that nothing that is added to it comes round.
    constexpr std::uint64_t kMostBytes = kMax / 2;
    const auto index = number(block, std::nullopt);
    const auto bytes = number(offset, std::nullopt);
    if ((!text(block).empty() && !index) || (!text(offset).empty() && !bytes) || (!index && !bytes)) {
      return lines_.refuse("not a block number or offset", kAdvice);
    }
    const std::uint64_t begin = bytes                                     ? *bytes
                                : *index > kMostBytes >> geometry.shift() ? kMostBytes
                                                                          : *index << geometry.shift();
    if (index && bytes && geometry.block_of(ByteOffset(*bytes)).value() != *index) {
      return lines_.refuse(fmt::format("the offset is not that of the block in blocks of {}", geometry.block_size()),
                           "say the block size that it was exported with");
    }
    if (bytes && geometry.offset_in_block(ByteOffset(*bytes)) != 0) {
      return lines_.refuse(fmt::format("the offset is not a multiple of {}", geometry.block_size()),
                           "say the block size that it was exported with");
    }
    return std::min(begin, kMostBytes / kMaxBlockSize * kMaxBlockSize);
  }

  // None for a weak entry.
  [[nodiscard]] Result<SectorMask> lost_sectors(const BlockGeometry& geometry, CsvNotes& notes) const {
    const std::string_view name = text(state);
    if (name == "weak") return 0;
    if (name == "remapped") {
      ++notes.remapped_as_lost;
      return geometry.full_mask();
    }
    if (name != "lost") return lines_.refuse("not a state", "write lost, weak or remapped");
    if (text(valid_mask).empty()) return geometry.full_mask();
    const auto valid = parse_mask(text(valid_mask));
    if (!valid || (*valid & ~geometry.full_mask()) != 0) {
      return lines_.refuse(fmt::format("not a mask of {} sectors", geometry.sectors_per_block()), kAdvice);
    }
    if (*valid == geometry.full_mask()) return lines_.refuse("lost, but every sector is valid", "correct the mask");
    return geometry.full_mask() & ~*valid;
  }

  const Places& places_;
  const std::vector<std::string>& fields_;
  const LineReader& lines_;
};

}  // namespace

Result<CsvNotes> read_csv(LineReader& lines, std::uint64_t default_block_size, DamageList& list) {
  CsvNotes notes;
  std::optional<Places> places;
  std::size_t columns = 0;
  for (;;) {
    auto line = lines.next();
    if (!line) return fail(std::move(line.error()));
    if (!*line) break;
    if ((*line)->empty()) continue;
    const auto fields = split(**line);
    if (!fields) return lines.refuse("quotes do not fit", "double the quotes inside of quotes");
    if (!places) {
      auto header = read_header(*fields, lines);
      if (!header) return fail(std::move(header.error()));
      places = *header;
      columns = fields->size();
      continue;
    }
    if (fields->size() != columns) return lines.refuse("not as many fields as columns", kAdvice);
    if (auto added = Entry(*places, *fields, lines).add_to(list, default_block_size, notes); !added) {
      return fail(std::move(added.error()));
    }
  }
  if (!places) return lines.refuse("no line of column names", kAdvice);
  return notes;
}

void write_csv_header(std::ostream& out) {
  for (std::size_t i = 0; i < kNames.size(); ++i) out << (i == 0 ? "" : ",") << kNames[i];
  out << '\n';
}

void write_csv_row(const RemapRow& row, const BlockGeometry& geometry, std::string_view created,
                   std::string_view updated, std::ostream& out) {
  const bool remapped = row.state == EntryState::remapped;
  const std::string_view name = remapped ? "remapped" : row.state == EntryState::lost ? "lost" : "weak";
  const std::string where = remapped ? fmt::format("{},{}", row.where.spare, row.where.slot.value()) : ",";
  // None of it needs quotes: numbers, words of ours, and times.
  out << fmt::format("{},{},{},{},0x{:x},0x{:x},{},{},{},{},{},{}\n", row.block.value(),
                     geometry.begin_of(row.block).value(), name, where, row.valid_mask, row.written_mask,
                     row.sequence.value(), to_string(row.cause), row.error_count, created, updated,
                     geometry.block_size());
}

}  // namespace remapfs::exchange
