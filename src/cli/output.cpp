// SPDX-License-Identifier: Apache-2.0
#include "cli/output.hpp"

#include <fmt/format.h>

#include <array>
#include <exception>
#include <ostream>

#include "core/json.hpp"

namespace remapfs::cli {

std::string one_line(std::string_view text) {
  std::string line(text);
  while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return line;
}

int report_error(World& world, const Error& error, int exit_code) {
  return report_error(world, describe(error), exit_code);
}

int report_error(World& world, std::string_view message, int exit_code) {
  world.out.flush();
  world.err << "remapfs: " << one_line(message) << std::endl;
  return exit_code;
}

int unless_not_understood(World& world, const std::function<int()>& part) {
  const auto report = [&world](const std::exception& exception) {
    return report_error(world, fmt::format("an answer is not understood, {}, use the remapfs that made the mount",
                                           one_line(exception.what())));
  };
  try {
    return part();
  } catch (const nlohmann::json::exception& exception) {
    return report(exception);
  } catch (const JsonMemberMissing& exception) {
    return report(exception);
  }
}

void report_note(World& world, std::string_view message) {
  world.out.flush();
  world.err << "remapfs: note: " << one_line(message) << std::endl;
}

std::string human_size(std::uint64_t bytes) {
  constexpr std::array kUnits{'K', 'M', 'G', 'T', 'P', 'E'};
  if (bytes < 1024) return std::to_string(bytes);
  unsigned unit = 0;
  while (unit + 1 < kUnits.size() && (bytes >> (10U * (unit + 2))) != 0) ++unit;
  const std::uint64_t scale = std::uint64_t{1} << (10U * (unit + 1));
  if (bytes % scale == 0) return fmt::format("{}{}", bytes / scale, kUnits[unit]);
  return fmt::format("{:.1f}{}", static_cast<double>(bytes) / static_cast<double>(scale), kUnits[unit]);
}

}  // namespace remapfs::cli
