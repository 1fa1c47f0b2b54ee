// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "cli/drive_verdict.hpp"
#include "cli/smartctl.hpp"
#include "cli/world.hpp"
#include "core/json.hpp"
#include "store/map_reader.hpp"

namespace remapfs::cli {

// What a device of a volume, as `status -J` has it, says of its health.
struct AskedDrive {
  std::string drive;                   // "/dev/sda"; empty: there is none
  std::optional<DriveHealth> health;   // nothing: it was not asked, or did not answer
  std::string trouble;                 // why not
  std::optional<std::string> warning;  // about its error recovery
};

// Errors: not_found (smartctl is not installed). That a drive does not answer is no error of the command.
[[nodiscard]] Result<AskedDrive> ask_drive(const nlohmann::ordered_json& device, const World& world,
                                           std::chrono::milliseconds patience);

// What to warn of before a volume is mounted: that its primary's drive tries longer than the kernel waits. Nothing when
// all is well or cannot be told; asks a drive only where the kernel has such a limit for it, and for 3 seconds at the
// most.
[[nodiscard]] std::optional<std::string> warning_before_mount(const std::string& map_path, const World& world);

// What remapfs has seen of the primary. lately: of the last 7 days.
[[nodiscard]] OwnEvidence own_evidence(const store::MapGrowth& lately, const nlohmann::ordered_json& status);

// The drives of a volume with their verdicts, as `smart -J` has them.
class DriveReport {
 public:
  // history: all readings in the map, oldest first.
  DriveReport(const std::vector<SmartReading>& history, const OwnEvidence& own, std::int64_t now)
      : history_(history), own_(own), now_(now) {}

  void add(const nlohmann::ordered_json& device, const AskedDrive& asked);
  [[nodiscard]] const nlohmann::ordered_json& drives() const { return drives_; }

 private:
  const std::vector<SmartReading>& history_;
  const OwnEvidence own_;
  const std::int64_t now_;
  nlohmann::ordered_json drives_ = nlohmann::ordered_json::array();
};

// The newest reading of the primary and its verdict, as a report shows them, without asking the drive; null: there is
// none.
[[nodiscard]] nlohmann::ordered_json primary_health(const std::vector<SmartReading>& history, const OwnEvidence& own,
                                                    std::int64_t now);

}  // namespace remapfs::cli
