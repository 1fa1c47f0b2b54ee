// SPDX-License-Identifier: Apache-2.0
#include "store/row_codec.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "store/little_endian.hpp"
#include "store/sql.hpp"

namespace remapfs::store {
namespace {

std::optional<EntryState> parse_state(std::string_view text) {
  for (const EntryState state : {EntryState::remapped, EntryState::lost, EntryState::weak}) {
    if (text == state_text(state)) return state;
  }
  return std::nullopt;
}

std::optional<Cause> parse_cause(std::string_view text) {
  for (std::uint8_t i = 0; i <= static_cast<std::uint8_t>(kLastCause); ++i) {
    if (text == to_string(static_cast<Cause>(i))) return static_cast<Cause>(i);
  }
  return std::nullopt;
}

template <std::size_t Count>
std::uint64_t digest_of(const std::array<std::uint64_t, Count>& numbers) {
  std::array<std::byte, Count * 8> bytes{};
  ByteWriter writer(bytes);
  for (const std::uint64_t number : numbers) writer.u64(number);
  return XXH3_64bits(bytes.data(), bytes.size());
}

}  // namespace

std::string_view state_text(EntryState state) {
  switch (state) {
    case EntryState::weak: return "weak";
    case EntryState::lost: return "lost";
    case EntryState::remapped: return "remapped";
    case EntryState::poisoned: break;
  }
  REMAPFS_INVARIANT(false && "poisoned entries exist only in memory");
  return {};
}

RowColumns::RowColumns(SQLite::Statement& statement) {
  constexpr int kColumns = 9;
  columns_.reserve(kColumns);
  for (int i = 0; i < kColumns; ++i) columns_.push_back(statement.getColumn(i));
}

std::uint64_t RowColumns::number(std::size_t column) const {
  return static_cast<std::uint64_t>(columns_[column].getInt64());
}

Result<RemapRow> RowColumns::read() const {
  RemapRow row;
  row.block = BlockIndex(number(0));
  const auto state = parse_state(columns_[1].getText());
  const auto cause = parse_cause(columns_[7].getText());
  if (!state || !cause) {
    return fail(Errc::corrupt, fmt::format("block {}: unknown {}", row.block.value(), state ? "cause" : "state"));
  }
  row.state = *state;
  row.cause = *cause;
  if (row.state == EntryState::remapped) {
    const std::uint64_t spare = number(2);
    if (spare == 0 || spare > 255) {
      return fail(Errc::corrupt, fmt::format("block {}: impossible spare {}", row.block.value(), spare));
    }
    row.where = {static_cast<SpareId>(spare), SlotIndex(number(3))};
  }
  row.valid_mask = number(4);
  row.written_mask = number(5);
  row.sequence = Sequence(number(6));
  row.error_count = number(8);
  return row;
}

void bind_row(SQLite::Statement& statement, const RemapRow& row) {
  const bool has_slot = row.state == EntryState::remapped;
  statement.bind(1, to_sql(row.block.value()));
  statement.bind(2, std::string(state_text(row.state)));
  has_slot ? statement.bind(3, std::int64_t{row.where.spare}) : statement.bind(3);
  has_slot ? statement.bind(4, to_sql(row.where.slot.value())) : statement.bind(4);
  statement.bind(5, to_sql(row.valid_mask));
  statement.bind(6, to_sql(row.written_mask));
  statement.bind(7, to_sql(row.sequence.value()));
  statement.bind(8, std::string(to_string(row.cause)));
  statement.bind(9, to_sql(row.error_count));
}

std::uint64_t row_digest(const RemapRow& row) {
  return digest_of<7>({row.block.value(), static_cast<std::uint64_t>(row.state), row.where.spare,
                       row.where.slot.value(), row.valid_mask, row.written_mask, row.sequence.value()});
}

std::uint64_t index_digest(std::uint64_t spare_id, std::uint64_t slot, std::uint64_t block) {
  return digest_of<3>({spare_id, slot, block});
}

std::uint64_t tag_digest(BlockIndex block, Sequence sequence, SectorMask valid, SectorMask written) {
  return std::max<std::uint64_t>(digest_of<4>({block.value(), sequence.value(), valid, written}), 1);
}

RowRules::RowRules(const VolumeInfo& info, std::vector<Sequence> sequences)
    : blocks_(BlockGeometry(info.block_size).blocks_in(info.size)),
      full_mask_(BlockGeometry(info.block_size).full_mask()) {
  REMAPFS_INVARIANT(sequences.size() == info.spares.size());
  for (std::size_t i = 0; i < info.spares.size(); ++i) {
    spares_.push_back({info.spares[i].id, info.spares[i].slots, sequences[i]});
  }
}

const RowRules::Spare* RowRules::find(SpareId id) const {
  const auto it = std::find_if(spares_.begin(), spares_.end(), [id](const Spare& spare) { return spare.id == id; });
  return it == spares_.end() ? nullptr : &*it;
}

std::string RowRules::problem(const RemapRow& row) const {
  const auto say = [&](const std::string& what) { return fmt::format("block {}: {}", row.block.value(), what); };
  if (row.block.value() >= blocks_) return say(fmt::format("past the end of the disk, {} blocks", blocks_));
  if ((row.valid_mask & ~full_mask_) != 0) return say("valid_mask has bits beyond the block");
  switch (row.state) {
    case EntryState::weak:
      if (row.valid_mask != full_mask_) return say("weak, but not every sector is valid");
      return {};
    case EntryState::lost:
      if (row.valid_mask == full_mask_) return say("lost, but every sector is valid");
      return {};
    case EntryState::remapped: {
      const Spare* spare = find(row.where.spare);
      if (spare == nullptr) return say(fmt::format("there is no spare {}", row.where.spare));
      if (row.where.slot.value() >= spare->slots) {
        return say(fmt::format("slot {} is past the end of spare {}", row.where.slot.value(), row.where.spare));
      }
      if ((row.written_mask & ~full_mask_) != 0) return say("written_mask has bits beyond the block");
      if ((row.valid_mask & ~row.written_mask) != 0) return say("sectors are valid that were never written");
      return {};
    }
    case EntryState::poisoned: return say("a poisoned entry cannot be stored");
  }
  return say("unknown state");
}

std::string RowRules::problem_of_committed(const RemapRow& row) const {
  std::string text = problem(row);
  if (!text.empty() || row.state != EntryState::remapped) return text;
  const Sequence last = find(row.where.spare)->sequence;
  if (row.sequence.value() != 0 && row.sequence <= last) return {};
  return fmt::format("block {}: sequence {} is outside 1 to {}", row.block.value(), row.sequence.value(), last.value());
}

}  // namespace remapfs::store
