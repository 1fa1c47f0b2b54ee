// SPDX-License-Identifier: Apache-2.0
#include "cli/block_command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ostream>
#include <span>
#include <string_view>

#include "cli/assemble.hpp"
#include "cli/output.hpp"
#include "cli/reach.hpp"
#include "control/volume_target.hpp"

namespace remapfs::cli {
namespace {

// What happened, for a person: "block 17: relocated".
std::string_view wording(Verb verb, Outcome outcome) {
  switch (outcome) {
    case Outcome::still_bad: return "still cannot be read";
    case Outcome::already:
      switch (verb) {
        case Verb::add: return "already remapped";
        case Verb::remove: return "already without an entry";
        case Verb::mark_lost: return "already lost";
        case Verb::clear_lost: return "already without lost sectors";
        default: return "nothing to do";
      }
    case Outcome::done:
      switch (verb) {
        case Verb::add: return "remapped";
        case Verb::remove: return "copied back and verified, entry removed";
        case Verb::retest: return "readable";
        case Verb::mark_lost: return "marked lost";
        case Verb::clear_lost: return "readable again";
        default: return "done";
      }
  }
  return "done";
}

class Printer {
 public:
  Printer(Verb verb, World& world) : verb_(verb), world_(world) {}

  void operator()(const BlockReport& report) {
    if (!report.result) {
      failed_ = true;
      report_error(world_, report.result.error());
      return;
    }
    // A retest has done its work whatever it found; clearing what still cannot be read has not.
    if (*report.result == Outcome::still_bad && verb_ == Verb::clear_lost) {
      failed_ = true;
      report_error(
          world_, Error{Errc::media, 0,
                        fmt::format("block {}: {}, rewrite it", report.block.value(), wording(verb_, *report.result))});
      return;
    }
    world_.out << fmt::format("block {}: {}\n", report.block.value(), wording(verb_, *report.result));
  }

  [[nodiscard]] int finish(const Completion& completion) {
    if (!completion.result) return report_error(world_, completion.result.error());
    return failed_ || completion.failed != 0 ? kExitCouldNot : kExitDone;
  }

 private:
  Verb verb_;
  World& world_;
  bool failed_ = false;
};

// A request has a bounded number of ranges; each part is one request.
int ask_daemon(const Daemon& daemon, Verb verb, std::span<const BlockRange> ranges, World& world) {
  Printer print(verb, world);
  int exit_code = kExitDone;
  while (!ranges.empty()) {
    const auto part = ranges.first(std::min(ranges.size(), kMaxRangesPerRequest));
    ranges = ranges.subspan(part.size());
    auto client = daemon.connect();
    if (!client) return report_error(world, client.error());
    const auto completion = client->ask({verb, {part.begin(), part.end()}}, std::ref(print));
    if (!completion) return report_error(world, completion.error());
    exit_code = std::max(exit_code, print.finish(*completion));
    if (!completion->result) break;
  }
  return exit_code;
}

int work_here(const std::string& map_path, Verb verb, std::span<const BlockRange> ranges, World& world) {
  AssembleOptions how;
  how.views = world.views;
  auto assembled = assemble(map_path, how);
  if (!assembled) return report_error(world, assembled.error());
  for (const std::string& warning : assembled->warnings) report_note(world, warning);
  VolumeTarget target(*assembled->volume);
  Printer print(verb, world);
  const auto completion = apply_blocks(target, verb, ranges, [&](const BlockReport& report) {
    print(report);
    return world.out.good();
  });
  const int exit_code = print.finish(completion);
  if (auto closed = assembled->volume->close(); !closed) return report_error(world, closed.error());
  return exit_code;
}

}  // namespace

int run_block_verb(const Target& target, Verb verb, const std::vector<BlockRange>& ranges, World& world) {
  const auto daemon = find_daemon(target, world);
  if (!daemon) return report_error(world, daemon.error());
  return *daemon ? ask_daemon(**daemon, verb, ranges, world) : work_here(target.map_path, verb, ranges, world);
}

int run_resume(const Target& target, World& world) {
  const auto daemon = find_daemon(target, world);
  if (!daemon) return report_error(world, daemon.error());
  if (!*daemon) {
    report_note(world, fmt::format("not mounted, {}, nothing to resume", target.map_path));
    return kExitDone;
  }
  auto client = (*daemon)->connect();
  if (!client) return report_error(world, client.error());
  const auto completion = client->ask({Verb::resume, {}});
  if (!completion) return report_error(world, completion.error());
  if (!completion->result) return report_error(world, completion->result.error());
  if (*completion->result == Outcome::already) {
    report_note(world, "the volume is at work already, nothing to resume");
  } else {
    world.out << "resumed\n";
  }
  return kExitDone;
}

}  // namespace remapfs::cli
