// SPDX-License-Identifier: Apache-2.0
#include "control/import_request.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace remapfs {
namespace {

// The sentence for a failure that came without one: "what, where, what to do".
std::string sentence(const Error& error) {
  const std::string cause = error.os_errno != 0 ? fmt::format(" ({})", std::strerror(error.os_errno)) : "";
  const auto text = [&](std::string_view what, std::string_view advice) {
    return fmt::format("{}{}, this volume, {}", what, cause, advice);
  };
  switch (error.code) {
    case Errc::read_only: return text("read-only", "mount it read-write and import again");
    case Errc::suspended:
    case Errc::device_gone:
      return text("the primary does not answer", "bring it back, run remapfs resume, import again");
    case Errc::failed:
    case Errc::commit_unknown: return text("the volume has failed", "unmount it, mount it and import again");
    case Errc::store: return text("the map cannot be written", "make room for it and import again");
    case Errc::no_memory: return text("no memory for the entries", "free some and import again");
    default: return text(describe(error), "import again");
  }
}

}  // namespace

Completion apply_import(ControlTarget& target, std::span<const ImportRun> runs) {
  Completion completion;
  ImportCounts counts;
  if (auto imported = target.import_entries(runs, counts); !imported) {
    if (imported.error().message.empty()) imported.error().message = sentence(imported.error());
    completion.result = fail(std::move(imported.error()));
  }
  completion.imported = counts;
  return completion;
}

std::vector<ImportRun> take_request(std::span<ImportRun>& left) {
  std::vector<ImportRun> taken;
  std::uint64_t room = kMaxBlocksPerImport;
  while (!left.empty() && room > 0 && taken.size() < kMaxRangesPerRequest) {
    ImportRun& first = left.front();
    const std::uint64_t count = std::min(room, first.blocks.size());
    taken.push_back({{first.blocks.begin, first.blocks.begin + count}, first.lost});
    first.blocks.begin += count;
    room -= count;
    if (first.blocks.empty()) left = left.subspan(1);
  }
  return taken;
}

}  // namespace remapfs
