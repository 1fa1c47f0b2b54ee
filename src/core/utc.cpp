// SPDX-License-Identifier: Apache-2.0
#include "core/utc.hpp"

#include <ctime>

namespace remapfs {
namespace {

constexpr const char* kFormat = "%Y-%m-%dT%H:%M:%SZ";

}  // namespace

std::string utc_text(std::int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof text, kFormat, &parts);
  return text;
}

std::string utc_now() { return utc_text(std::time(nullptr)); }

std::optional<std::int64_t> utc_seconds(const std::string& text) {
  std::tm parts{};
  const char* const end = ::strptime(text.c_str(), kFormat, &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  return ::timegm(&parts);
}

}  // namespace remapfs
