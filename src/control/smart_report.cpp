// SPDX-License-Identifier: Apache-2.0
#include "control/smart_report.hpp"

#include <array>
#include <string>
#include <utility>

#include "control/json_values.hpp"
#include "core/utc.hpp"

namespace remapfs {

using Json = nlohmann::ordered_json;

namespace {

constexpr std::size_t kLongestDrive = 200;
constexpr std::array<std::pair<const char*, std::optional<std::uint64_t> SmartReading::*>, 5> kCounts{
    {{"reallocated", &SmartReading::reallocated},
     {"pending", &SmartReading::pending},
     {"uncorrectable", &SmartReading::uncorrectable},
     {"wear_percent", &SmartReading::wear_percent},
     {"power_on_hours", &SmartReading::power_on_hours}}};

std::optional<SmartReading> reading_of(const Json& object) {
  if (!object.is_object()) return std::nullopt;
  const Json device = object.value("device", Json());
  const Json at = object.value("at", Json());
  const Json drive = object.value("drive", Json());
  if (!device.is_number_unsigned() || device.get<std::uint64_t>() > 255 || !at.is_string() || !drive.is_string()) {
    return std::nullopt;
  }
  SmartReading reading;
  reading.device = static_cast<SpareId>(device.get<unsigned>());
  reading.at = at.get<std::string>();
  reading.drive = drive.get<std::string>();
  if (!utc_seconds(reading.at) || reading.drive.size() > kLongestDrive) return std::nullopt;
  const Json passed = object.value("passed", Json());
  if (passed.is_boolean()) reading.passed = passed.get<bool>();
  const Json temperature = object.value("temperature", Json());
  if (temperature.is_number_integer()) reading.temperature = temperature.get<std::int64_t>();
  for (const auto& [name, member] : kCounts) {
    const Json count = object.value(name, Json());
    if (count.is_number_unsigned()) reading.*member = count.get<std::uint64_t>();
  }
  return reading;
}

}  // namespace

Json to_json(const std::vector<SmartReading>& readings) {
  Json list = Json::array();
  for (const SmartReading& reading : readings) {
    Json object{{"device", reading.device},
                {"at", reading.at},
                {"drive", reading.drive},
                {"passed", or_null(reading.passed)},
                {"temperature", or_null(reading.temperature)}};
    for (const auto& [name, member] : kCounts) object[name] = or_null(reading.*member);
    list.push_back(std::move(object));
  }
  return list;
}

Result<std::vector<SmartReading>> smart_readings_of(const Json& list) {
  std::vector<SmartReading> readings;
  bool understood = list.is_array() && !list.empty() && list.size() <= kMostSmartReadings;
  for (std::size_t i = 0; understood && i < list.size(); ++i) {
    auto reading = reading_of(list[i]);
    understood = reading.has_value();
    if (reading) readings.push_back(std::move(*reading));
  }
  if (!understood) return fail(Errc::invalid, "control request: \"readings\" are not SMART readings");
  return readings;
}

}  // namespace remapfs
