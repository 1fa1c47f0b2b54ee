// SPDX-License-Identifier: Apache-2.0
#include "cli/drive_report.hpp"

#include <fmt/format.h>

#include <utility>

#include "cli/map_view.hpp"
#include "cli/output.hpp"
#include "cli/status_view.hpp"
#include "control/smart_report.hpp"
#include "core/utc.hpp"

namespace remapfs::cli {

using Json = nlohmann::ordered_json;

namespace {

constexpr std::chrono::seconds kMountPatience{3};

// Readings of one drive; one that was put in the place of another begins anew.
std::vector<SmartReading> of_drive(const std::vector<SmartReading>& all, SpareId device, const std::string& drive) {
  std::vector<SmartReading> some;
  for (const SmartReading& reading : all) {
    if (reading.device == device && reading.drive == drive) some.push_back(reading);
  }
  return some;
}

}  // namespace

Result<AskedDrive> ask_drive(const Json& device, const World& world, std::chrono::milliseconds patience) {
  AskedDrive asked;
  if (device["missing"].get<bool>()) {
    asked.trouble = "it is missing";
    return asked;
  }
  const auto drive = drive_of(text_of(device["path"]), world.views);
  if (!drive) {
    asked.trouble = describe(drive.error());
    return asked;
  }
  asked.drive = *drive;
  auto health = ask_smartctl(*drive, world, patience);
  if (!health && health.error().code == Errc::not_found) {
    return fail(Errc::not_found, "smartctl is not installed, this command, install smartmontools");
  }
  if (!health) {
    asked.trouble = describe(health.error());
    return asked;
  }
  health->reading.device = static_cast<SpareId>(device["id"].get<unsigned>());
  asked.warning = recovery_warning(health->recovery, *drive, command_timeout(*drive, world.views));
  asked.health = std::move(*health);
  return asked;
}

std::optional<std::string> warning_before_mount(const std::string& map_path, const World& world) {
  const auto info = read_map_info(map_path);
  if (!info) return std::nullopt;  // the mount will say why
  const auto drive = drive_of(info->primary_path, world.views);
  const auto timeout = drive ? command_timeout(*drive, world.views) : std::nullopt;
  if (!timeout) return std::nullopt;
  const auto health = ask_smartctl(*drive, world, kMountPatience);
  return health ? recovery_warning(health->recovery, *drive, timeout) : std::nullopt;
}

OwnEvidence own_evidence(const store::MapGrowth& lately, const Json& status) {
  OwnEvidence own;
  for (const store::NewEntries& entries : lately.hours) own.moved_in_a_week += entries.remapped;
  own.lost_sectors = status["lost_sectors"].get<std::uint64_t>();
  return own;
}

void DriveReport::add(const Json& device, const AskedDrive& asked) {
  DriveHealth health = asked.health.value_or(DriveHealth{});
  if (!asked.health) health.trouble = asked.trouble;
  const auto id = static_cast<SpareId>(device["id"].get<unsigned>());
  const std::vector<SmartReading> before = of_drive(history_, id, health.reading.drive);
  const DriveJudgement judgement = judge_drive(health, before, id == 0 ? own_ : OwnEvidence{}, now_);
  Json drive{{"device", id},
             {"role", device["role"]},
             {"path", device["path"]},
             {"drive", asked.drive.empty() ? Json() : Json(asked.drive)},
             {"model", health.reading.drive},
             {"verdict", to_string(judgement.verdict)},
             {"words", in_words(judgement.verdict)},
             {"reasons", judgement.reasons},
             {"warnings", asked.warning ? Json{*asked.warning} : Json::array()}};
  const Json reading = to_json(std::vector<SmartReading>{health.reading})[0];
  for (const auto& [name, value] : reading.items()) {
    if (name != "device" && name != "drive" && name != "at") drive[name] = value;
  }
  drive["history"] = to_json(before);
  drives_.push_back(std::move(drive));
}

Json primary_health(const std::vector<SmartReading>& history, const OwnEvidence& own, std::int64_t now) {
  const SmartReading* newest = nullptr;
  for (const SmartReading& reading : history) {
    if (reading.device == 0) newest = &reading;
  }
  if (newest == nullptr) return nullptr;
  DriveHealth health;
  health.reading = *newest;
  const std::vector<SmartReading> all = of_drive(history, 0, newest->drive);
  // As of when it was asked: nothing is known of the time since.
  const std::int64_t then = utc_seconds(newest->at).value_or(now);
  DriveJudgement judgement = judge_drive(health, {all.begin(), all.end() - 1}, own, then);
  if (const std::int64_t days = (now - then) / 86400; days > 7) {
    judgement.reasons.push_back(fmt::format("the drive was last asked {} days ago", days));
  }
  Json shown = Json::array();
  for (const SmartReading& reading : all) {
    const Json one = to_json(std::vector<SmartReading>{reading})[0];
    shown.push_back({{"at", one["at"]},
                     {"reallocated", one["reallocated"]},
                     {"pending", one["pending"]},
                     {"uncorrectable", one["uncorrectable"]},
                     {"temperature", one["temperature"]}});
  }
  return {{"verdict", to_string(judgement.verdict)},
          {"reasons", judgement.reasons},
          {"read_at", newest->at},
          {"history", std::move(shown)}};
}

}  // namespace remapfs::cli
