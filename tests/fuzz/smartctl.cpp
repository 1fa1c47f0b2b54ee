// SPDX-License-Identifier: Apache-2.0
// What a drive, or who stands between, makes smartctl print: whatever is understood is judged, kept and read back the
// same.
#include "cli/smartctl.hpp"

#include "cli/drive_verdict.hpp"
#include "control/smart_report.hpp"
#include "fuzz/fuzz_input.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace remapfs;
  using namespace remapfs::cli;
  const auto health = parse_smartctl(std::string(fuzz::as_text(data, size)));
  if (!health) return 0;
  SmartReading reading = health->reading;
  reading.at = "2026-01-31T23:59:59Z";
  for (const std::int64_t now : {std::int64_t{0}, std::int64_t{1'800'000'000}}) {
    const DriveJudgement judgement = judge_drive(*health, {reading, reading}, {1, 1}, now);
    REMAPFS_INVARIANT(!judgement.reasons.empty());
  }
  std::ignore = recovery_warning(health->recovery, "/dev/sda", 30);
  // What is not UTF-8 is replaced on the way.
  const auto sent = nlohmann::ordered_json::parse(
      to_json(std::vector{reading}).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  const auto back = smart_readings_of(sent);
  if (!back) {
    // Replacements make it longer.
    REMAPFS_INVARIANT(reading.drive.size() > 60);
    return 0;
  }
  const auto again = smart_readings_of(to_json(*back));
  REMAPFS_INVARIANT(again && *again == *back);
  return 0;
}
