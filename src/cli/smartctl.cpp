// SPDX-License-Identifier: Apache-2.0
#include "cli/smartctl.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "cli/output.hpp"
#include "cli/run_program.hpp"
#include "core/json.hpp"
#include "io/sysfs.hpp"

namespace remapfs::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kLongestDrive = 200;

// Numbers of attributes, as smartctl's drive database names them for most drives.
constexpr unsigned kReallocatedSectors = 5;
constexpr unsigned kReportedUncorrect = 187;
constexpr unsigned kPendingSectors = 197;

std::optional<std::uint64_t> number_at(const Json& json, const char* path) {
  const Json::json_pointer pointer(path);
  if (!json.contains(pointer) || !json.at(pointer).is_number()) return std::nullopt;
  const Json& value = json.at(pointer);
  if (value.is_number_unsigned()) return value.get<std::uint64_t>();
  return std::nullopt;
}

std::string text_at(const Json& json, const char* path) {
  const Json::json_pointer pointer(path);
  return json.contains(pointer) && json.at(pointer).is_string() ? one_line(json.at(pointer).get<std::string>()) : "";
}

// The raw value is 48 bits, of which some makers use a few for something else. smartctl knows: what it prints begins
// with the count.
std::optional<std::uint64_t> raw_of(const Json& attribute) {
  const std::string text = text_at(attribute, "/raw/string");
  std::uint64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  return error == std::errc() && end != text.data() ? count : number_at(attribute, "/raw/value");
}

void read_attributes(const Json& json, DriveHealth& health) {
  const Json::json_pointer table("/ata_smart_attributes/table");
  if (!json.contains(table) || !json.at(table).is_array()) return;
  for (const Json& attribute : json.at(table)) {
    const auto id = number_at(attribute, "/id");
    const auto raw = raw_of(attribute);
    if (!id) continue;
    if (*id == kReallocatedSectors) health.reading.reallocated = raw;
    if (*id == kPendingSectors) health.reading.pending = raw;
    if (*id == kReportedUncorrect) health.reading.uncorrectable = raw;
    if (text_at(attribute, "/when_failed") == "now") health.failing.push_back(text_at(attribute, "/name"));
  }
}

void read_nvme(const Json& json, DriveHealth& health) {
  const Json::json_pointer log("/nvme_smart_health_information_log");
  if (!json.contains(log)) return;
  const Json& nvme = json.at(log);
  if (const auto warning = number_at(nvme, "/critical_warning"))
    health.critical_warning = static_cast<unsigned>(*warning);
  health.reading.uncorrectable = number_at(nvme, "/media_errors");
  health.reading.wear_percent = number_at(nvme, "/percentage_used");
  const auto spare = number_at(nvme, "/available_spare");
  const auto threshold = number_at(nvme, "/available_spare_threshold");
  health.spare_exhausted = spare && threshold && *spare < *threshold;
}

void read_scsi(const Json& json, DriveHealth& health) {
  if (const auto grown = number_at(json, "/scsi_grown_defect_list")) health.reading.reallocated = grown;
  const auto reads = number_at(json, "/scsi_error_counter_log/read/total_uncorrected_errors");
  const auto writes = number_at(json, "/scsi_error_counter_log/write/total_uncorrected_errors");
  if (reads || writes) health.reading.uncorrectable = reads.value_or(0) + writes.value_or(0);
}

void read_recovery(const Json& json, ErrorRecovery& recovery) {
  recovery.is_disk = text_at(json, "/device/protocol") == "ATA" && number_at(json, "/rotation_rate").value_or(0) > 0;
  const Json::json_pointer erc("/ata_sct_erc");
  recovery.known = json.contains(erc);
  recovery.read_deciseconds = number_at(json, "/ata_sct_erc/read/deciseconds");
  recovery.write_deciseconds = number_at(json, "/ata_sct_erc/write/deciseconds");
}

std::string messages_of(const Json& json) {
  const Json::json_pointer list("/smartctl/messages");
  std::string all;
  if (!json.contains(list) || !json.at(list).is_array()) return all;
  for (const Json& message : json.at(list)) {
    const std::string text = text_at(message, "/string");
    if (!text.empty()) all += (all.empty() ? "" : "; ") + text;
  }
  return all;
}

}  // namespace

Result<std::string> drive_of(const std::string& path, const KernelViews& views) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    return fail(Errc::not_found, fmt::format("cannot find it, {} ({}), check the path", path, std::strerror(errno)));
  }
  const auto device = SysfsBlockDevice::find(S_ISBLK(status.st_mode) ? status.st_rdev : status.st_dev, views);
  if (!device) return fail(Errc::not_found, fmt::format("{} lies on no drive of its own", path));
  return views.dev + "/" + device->disk().kernel_name();
}

Result<DriveHealth> ask_smartctl(const std::string& drive, const World& world, std::chrono::milliseconds patience) {
  // No more than is needed of a drive that may be dying: no logs. A disk that sleeps is woken, as any read would.
  const auto output = run_program({"smartctl", "-j", "-i", "-H", "-c", "-A", "-l", "scterc", drive}, world.program_path,
                                  {}, {patience, std::size_t{1} << 20U});
  if (!output) return fail(output.error());
  return parse_smartctl(output->out);
}

Result<DriveHealth> parse_smartctl(const std::string& text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return fail(Errc::invalid, "cannot understand smartctl, its version, install 7.0 or later");
  DriveHealth health;
  SmartReading& reading = health.reading;
  reading.drive = text_at(json, "/model_name");
  if (const std::string serial = text_at(json, "/serial_number"); !serial.empty()) reading.drive += " " + serial;
  reading.drive.resize(std::min(reading.drive.size(), kLongestDrive));
  const Json::json_pointer passed("/smart_status/passed");
  if (json.contains(passed) && json.at(passed).is_boolean()) reading.passed = json.at(passed).get<bool>();
  if (const auto celsius = number_at(json, "/temperature/current")) {
    reading.temperature = static_cast<std::int64_t>(std::min<std::uint64_t>(*celsius, 1000));
  }
  reading.power_on_hours = number_at(json, "/power_on_time/hours");
  read_attributes(json, health);
  read_nvme(json, health);
  read_scsi(json, health);
  read_recovery(json, health.recovery);
  // Whatever says so: a reading that is kept has to tell it later, too.
  const bool warns = !health.failing.empty() || health.critical_warning.value_or(0) != 0 || health.spare_exhausted;
  if (warns) reading.passed = false;
  const bool something = reading.passed || reading.reallocated || reading.pending || reading.uncorrectable;
  if (!something) {
    const std::string messages = messages_of(json);
    health.trouble = messages.empty() ? "the drive tells nothing of its health" : messages;
  }
  return health;
}

std::optional<std::uint64_t> command_timeout(const std::string& drive, const KernelViews& views) {
  struct stat status {};
  if (::stat(drive.c_str(), &status) != 0 || !S_ISBLK(status.st_mode)) return std::nullopt;
  const auto device = SysfsBlockDevice::find(status.st_rdev, views);
  return device ? device->disk_number("device/timeout") : std::nullopt;
}

std::optional<std::string> recovery_warning(const ErrorRecovery& recovery, const std::string& drive,
                                            std::optional<std::uint64_t> timeout) {
  if (!recovery.is_disk || !timeout) return std::nullopt;
  const std::string longer = fmt::format("or have the kernel wait longer: echo 180 > /sys/block/{}/device/timeout",
                                         drive.substr(drive.rfind('/') + 1));
  if (!recovery.known) {
    return fmt::format("{} has no limit for its error recovery, the kernel resets it after {} s, {}", drive, *timeout,
                       longer.substr(3));
  }
  if (!recovery.read_deciseconds || !recovery.write_deciseconds) {
    return fmt::format(
        "the error recovery limit of {} is off, the kernel resets it after {} s, set it: smartctl -l "
        "scterc,70,70 {}, {}",
        drive, *timeout, drive, longer);
  }
  const std::uint64_t most = std::max(*recovery.read_deciseconds, *recovery.write_deciseconds);
  if (most < *timeout * 10) return std::nullopt;
  return fmt::format(
      "{} tries for up to {} s, and the kernel resets it after {} s, set less: smartctl -l scterc,70,70 "
      "{}, {}",
      drive, most / 10, *timeout, drive, longer);
}

}  // namespace remapfs::cli
