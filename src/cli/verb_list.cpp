// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "cli/map_view.hpp"
#include "cli/output.hpp"
#include "cli/table.hpp"
#include "cli/target.hpp"
#include "cli/verbs.hpp"
#include "core/json.hpp"

namespace remapfs::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ListArguments {
  std::string target;
  bool json = false;
  std::string columns;
  bool no_headings = false;
  bool bytes = false;
};

std::string_view state_name(EntryState state) {
  switch (state) {
    case EntryState::weak: return "weak";
    case EntryState::lost: return "lost";
    case EntryState::remapped: return "remapped";
    case EntryState::poisoned: break;
  }
  return "unknown";
}

// One column: its name (that of the column of `remaps`, and the JSON key), its heading, and its value.
struct Column {
  const char* name;
  const char* heading;
  bool number;
  Json (*value)(const MapRow&, const BlockGeometry&);
};

Json slot_value(const MapRow& row, std::uint64_t value) {
  return row.row.state == EntryState::remapped ? Json(value) : Json(nullptr);
}
// Masks are signed in the map, since SQLite has no unsigned integers: all 64 sectors are -1.
Json mask_value(SectorMask mask) { return static_cast<std::int64_t>(mask); }

constexpr std::array<Column, 12> kColumns{{
    {"block", "BLOCK", true, [](const MapRow& row, const BlockGeometry&) { return Json(row.row.block.value()); }},
    {"offset", "OFFSET", true,
     [](const MapRow& row, const BlockGeometry& blocks) { return Json(blocks.begin_of(row.row.block).value()); }},
    {"state", "STATE", false, [](const MapRow& row, const BlockGeometry&) { return Json(state_name(row.row.state)); }},
    {"spare_id", "SPARE", true,
     [](const MapRow& row, const BlockGeometry&) { return slot_value(row, row.row.where.spare); }},
    {"slot", "SLOT", true,
     [](const MapRow& row, const BlockGeometry&) { return slot_value(row, row.row.where.slot.value()); }},
    {"valid_mask", "VALID", true,
     [](const MapRow& row, const BlockGeometry&) { return mask_value(row.row.valid_mask); }},
    {"written_mask", "WRITTEN", true,
     [](const MapRow& row, const BlockGeometry&) { return mask_value(row.row.written_mask); }},
    {"sequence", "SEQUENCE", true,
     [](const MapRow& row, const BlockGeometry&) { return Json(row.row.sequence.value()); }},
    {"cause", "CAUSE", false, [](const MapRow& row, const BlockGeometry&) { return Json(to_string(row.row.cause)); }},
    {"error_count", "ERRORS", true, [](const MapRow& row, const BlockGeometry&) { return Json(row.row.error_count); }},
    {"created_at", "CREATED", false,
     [](const MapRow& row, const BlockGeometry&) { return Json(row.created_at.data()); }},
    {"updated_at", "UPDATED", false,
     [](const MapRow& row, const BlockGeometry&) { return Json(row.updated_at.data()); }},
}};
constexpr std::string_view kDefaultColumns = "block,offset,state,spare_id,slot,cause,error_count,updated_at";

using ColumnList = std::vector<const Column*>;

// "block,STATE": by name or heading, in either case. Errors: invalid.
Result<ColumnList> choose_columns(std::string_view list) {
  ColumnList chosen;
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    std::string name(list.substr(0, comma));
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
    const auto same = [&](const char* candidate) { return ::strcasecmp(candidate, name.c_str()) == 0; };
    const auto found = std::find_if(kColumns.begin(), kColumns.end(),
                                    [&](const Column& column) { return same(column.name) || same(column.heading); });
    if (found == kColumns.end()) {
      return fail(Errc::invalid, fmt::format("usage, unknown column {}, see remapfs list --help", name));
    }
    chosen.push_back(&*found);
  }
  return chosen;
}

ColumnList all_columns() {
  ColumnList all;
  for (const Column& column : kColumns) all.push_back(&column);
  return all;
}

std::string cell(const Column& column, const Json& value, bool bytes) {
  if (value.is_null()) return "";
  const std::string_view name = column.name;
  if (name == "offset" && !bytes) return human_size(value.get<std::uint64_t>());
  if (name == "valid_mask" || name == "written_mask") {
    return fmt::format("0x{:x}", static_cast<SectorMask>(value.get<std::int64_t>()));
  }
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// Row by row: the whole of a long list as one JSON value would be gigabytes.
void print_json(const std::vector<MapRow>& rows, const BlockGeometry& blocks, const ColumnList& columns,
                std::ostream& out) {
  out << "{\n  \"json_format_version\": 1,\n  \"remaps\": [";
  const char* separator = "\n    ";
  for (const MapRow& row : rows) {
    Json object = Json::object();
    for (const Column* column : columns) object[column->name] = column->value(row, blocks);
    out << separator << object.dump();
    separator = ",\n    ";
  }
  out << (rows.empty() ? "]\n}\n" : "\n  ]\n}\n");
}

void print_table(const std::vector<MapRow>& rows, const BlockGeometry& blocks, const ColumnList& columns,
                 const ListArguments& arguments, std::ostream& out) {
  std::vector<TableColumn> headings;
  for (const Column* column : columns) headings.push_back({column->heading, column->number});
  Table table(headings, !arguments.no_headings);
  std::vector<std::string> cells(columns.size());
  for (const MapRow& row : rows) {
    for (std::size_t i = 0; i < columns.size(); ++i) {
      cells[i] = cell(*columns[i], columns[i]->value(row, blocks), arguments.bytes);
    }
    table.add_row(cells);
  }
  out << table.render();
}

int run_list(const ListArguments& arguments, World& world) {
  auto columns = choose_columns(arguments.columns.empty() ? kDefaultColumns : std::string_view(arguments.columns));
  if (!columns) return report_error(world, columns.error(), kExitUsage);
  if (arguments.json && arguments.columns.empty()) columns = all_columns();
  const auto target = resolve_target(arguments.target, world);
  if (!target) return report_error(world, target.error());
  const auto info = read_map_info(target->map_path);
  if (!info) return report_error(world, info.error());
  const auto rows = read_rows(target->map_path);
  if (!rows) return report_error(world, rows.error());
  const BlockGeometry blocks(info->block_size);
  if (arguments.json) {
    print_json(*rows, blocks, *columns, world.out);
  } else {
    print_table(*rows, blocks, *columns, arguments, world.out);
  }
  return kExitDone;
}

}  // namespace

void add_list(CLI::App& program, Invocation& invocation) {
  auto arguments = std::make_shared<ListArguments>();
  CLI::App* const verb = program.add_subcommand("list", "List the blocks that have an entry");
  verb->add_option("TARGET", arguments->target, "Map, mount point, or the disk in it")->required();
  verb->add_flag("-J,--json", arguments->json, "As JSON: every column unless -o chooses, bytes as integers");
  std::string names;
  for (const Column& column : kColumns) names += fmt::format("{}{}", names.empty() ? "" : ",", column.name);
  verb->add_option("-o,--output", arguments->columns, "Comma-separated, of: " + names)->type_name("COLUMNS");
  verb->add_flag("--noheadings", arguments->no_headings, "Without the line of headings");
  verb->add_flag("--bytes", arguments->bytes, "Offsets in bytes instead of rounded units");
  verb->footer("Example:\n  remapfs list /mnt/old -o block,state,error_count --noheadings");
  verb->callback([arguments, &invocation] { invocation.exit_code = run_list(*arguments, invocation.world); });
}

}  // namespace remapfs::cli
