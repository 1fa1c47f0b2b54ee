// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "remapfs/error.hpp"

struct libscols_table;

namespace remapfs::cli {

struct TableColumn {
  std::string heading;
  bool right = false;  // numbers
};

// A table as util-linux prints them.
class Table {
 public:
  Table(const std::vector<TableColumn>& columns, bool headings);

  // One cell a column. Ends the program when memory runs out.
  void add_row(const std::vector<std::string>& cells);
  // Lines with newlines; empty when there is no row and no heading.
  [[nodiscard]] std::string render() const;

 private:
  struct Release {
    void operator()(libscols_table* table) const;
  };
  std::unique_ptr<libscols_table, Release> table_;
  std::vector<std::string> headings_;  // shown even when there is no row, if wanted
  std::size_t rows_ = 0;
};

}  // namespace remapfs::cli
