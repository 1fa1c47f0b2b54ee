// SPDX-License-Identifier: Apache-2.0
#include "cli/table.hpp"

#include <libsmartcols.h>

#include <cstdlib>

namespace remapfs::cli {

void Table::Release::operator()(libscols_table* table) const { scols_unref_table(table); }

Table::Table(const std::vector<TableColumn>& columns, bool headings) : table_(scols_new_table()) {
  REMAPFS_INVARIANT(table_ != nullptr);
  scols_table_enable_noheadings(table_.get(), headings ? 0 : 1);
  // Never cut to the width of a terminal: scripts and people with long paths both want the whole of it.
  scols_table_set_termforce(table_.get(), SCOLS_TERMFORCE_NEVER);
  for (const TableColumn& column : columns) {
    const int flags = column.right ? SCOLS_FL_RIGHT : 0;
    REMAPFS_INVARIANT(scols_table_new_column(table_.get(), column.heading.c_str(), 0, flags) != nullptr);
    if (headings) headings_.push_back(column.heading);
  }
}

void Table::add_row(const std::vector<std::string>& cells) {
  libscols_line* const line = scols_table_new_line(table_.get(), nullptr);
  REMAPFS_INVARIANT(line != nullptr);
  for (std::size_t i = 0; i < cells.size(); ++i) {
    REMAPFS_INVARIANT(scols_line_set_data(line, i, cells[i].c_str()) == 0);
  }
  ++rows_;
}

std::string Table::render() const {
  std::string text;
  if (rows_ == 0) {
    // libsmartcols prints nothing at all for a table without rows.
    for (const std::string& heading : headings_) text += (text.empty() ? "" : " ") + heading;
    return text.empty() ? text : text + "\n";
  }
  char* rendered = nullptr;
  REMAPFS_INVARIANT(scols_print_table_to_string(table_.get(), &rendered) == 0);
  text = rendered;
  std::free(rendered);
  if (!text.empty() && text.back() != '\n') text += '\n';
  return text;
}

}  // namespace remapfs::cli
