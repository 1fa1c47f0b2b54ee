// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "rule.hpp"

namespace faulty {
namespace {

constexpr std::string_view kBlanks = " \t\r";

std::string_view trimmed(std::string_view line) {
  line = line.substr(0, line.find('#'));
  const std::size_t first = line.find_first_not_of(kBlanks);
  if (first == line.npos) return {};
  return line.substr(first, line.find_last_not_of(kBlanks) - first + 1);
}

// Calls visit for every line that is neither empty nor a comment.
Result<void> for_each_line(const std::string& path, const std::function<Result<void>(std::string_view)>& visit) {
  std::ifstream file(path);
  if (!file) {
    const int error = errno;
    const Errc code = error == EACCES ? Errc::permission : Errc::not_found;
    return fail(code, fmt::format("cannot open list, {}: {}", path, std::strerror(error)), error);
  }
  std::string line;
  for (std::uint64_t number = 1; std::getline(file, line); ++number) {
    const std::string_view text = trimmed(line);
    if (text.empty()) continue;
    if (const Result<void> done = visit(text); !done) {
      return fail(Errc::invalid, fmt::format("line {} of {}: {}", number, path, done.error().message));
    }
  }
  // getline() also stops on a read error, and half a list is not the list.
  if (file.bad() || !file.eof()) return fail(Errc::invalid, fmt::format("cannot read list, {}", path));
  return {};
}

}  // namespace

Result<std::vector<RuleSpec>> read_rule_file(const std::string& path) {
  const std::string base = std::filesystem::path(path).parent_path().string();
  std::vector<RuleSpec> rules;
  const Result<void> done = for_each_line(path, [&](std::string_view line) -> Result<void> {
    Result<RuleSpec> rule = parse_rule(line, base);
    if (!rule) return fail(rule.error());
    rules.push_back(std::move(*rule));
    return {};
  });
  if (!done) return fail(done.error());
  return rules;
}

Result<std::vector<SectorRange>> read_sector_list(const std::string& path) {
  std::vector<SectorRange> sectors;
  const Result<void> done = for_each_line(path, [&](std::string_view line) -> Result<void> {
    const Result<SectorRange> range = parse_sector_range(line);
    if (!range) return fail(range.error());
    sectors.push_back(*range);
    return {};
  });
  if (!done) return fail(done.error());
  return sectors;
}

}  // namespace faulty
