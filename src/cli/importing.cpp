// SPDX-License-Identifier: Apache-2.0
#include "cli/importing.hpp"

#include <functional>
#include <numeric>
#include <vector>

#include "cli/assemble.hpp"
#include "cli/held_signals.hpp"
#include "cli/output.hpp"
#include "cli/progress.hpp"
#include "cli/reach.hpp"
#include "control/import_request.hpp"
#include "control/volume_target.hpp"

namespace remapfs::cli {
namespace {

using Apply = std::function<Result<Completion>(std::vector<ImportRun>)>;

Result<void> apply_all(std::span<ImportRun> left, const Apply& apply, HeldSignals& signals, Progress& progress,
                       ImportCounts& counts) {
  while (!left.empty()) {
    if (signals.take()) return fail(Errc::interrupted, "interrupted, not all of it is imported, import again to go on");
    const auto completion = apply(take_request(left));
    if (!completion) return fail(completion.error());
    if (completion->imported) counts += *completion->imported;
    if (!completion->result) return fail(completion->result.error());
    progress.update(counts.lost_blocks + counts.weak_blocks + counts.existing_blocks);
  }
  return {};
}

}  // namespace

Result<void> import_into(const Target& target, std::span<ImportRun> runs, bool silent, World& world,
                         ImportCounts& counts) {
  const std::uint64_t blocks =
      std::accumulate(runs.begin(), runs.end(), std::uint64_t{0},
                      [](std::uint64_t sum, const ImportRun& run) { return sum + run.blocks.size(); });
  HeldSignals signals;
  const auto daemon = find_daemon(target, world);
  if (!daemon) return fail(daemon.error());
  if (*daemon) {
    Progress progress(world, "importing", blocks, Progress::Unit::blocks, silent);
    const auto ask = [&](std::vector<ImportRun> entries) -> Result<Completion> {
      auto client = (*daemon)->connect();
      if (!client) return fail(client.error());
      return client->ask({Verb::import_entries, {}, std::move(entries)});
    };
    return apply_all(runs, ask, signals, progress, counts);
  }

  AssembleOptions how;
  how.views = world.views;
  auto assembled = assemble(target.map_path, how);
  if (!assembled) return fail(assembled.error());
  for (const std::string& warning : assembled->warnings) report_note(world, warning);
  VolumeTarget volume(*assembled->volume);
  Result<void> imported;
  {
    Progress progress(world, "importing", blocks, Progress::Unit::blocks, silent);
    const auto apply = [&](const std::vector<ImportRun>& entries) -> Result<Completion> {
      return apply_import(volume, entries);
    };
    imported = apply_all(runs, apply, signals, progress, counts);
  }
  const auto closed = assembled->volume->close();
  return imported ? closed : imported;
}

}  // namespace remapfs::cli
