// SPDX-License-Identifier: Apache-2.0
#include "control/block_verbs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace remapfs {
namespace {

// The sentence for a failure that came without one: "what, where, what to do".
std::string sentence(Verb verb, BlockIndex block, const Error& error) {
  const auto text = [&](std::string_view what, std::string_view advice) {
    return fmt::format("{}, block {}, {}", what, block.value(), advice);
  };
  const std::string cause = error.os_errno != 0 ? fmt::format(" ({})", std::strerror(error.os_errno)) : "";
  switch (error.code) {
    case Errc::lost:
      if (verb == Verb::remove) return text("has lost sectors", "rewrite it or run clear-lost first");
      return text("has lost sectors", "there is no whole data to keep; rewrite it instead");
    case Errc::no_space: return text("no free slot is left", "remove entries or use a larger spare");
    case Errc::read_only: return text("the volume is read-only", "mount it read-write");
    case Errc::suspended: return text("a device does not answer", "bring it back, then run remapfs resume");
    case Errc::failed:
    case Errc::commit_unknown: return text("the volume has failed", "unmount and mount it again" + cause);
    case Errc::store: return text("the map cannot be written" + cause, "make room for it and try again");
    case Errc::not_found: return text("has no entry", "see remapfs list");
    case Errc::media:
    case Errc::timeout:
      if (verb == Verb::remove) return text("the primary still fails there" + cause, "the entry stays");
      return text("cannot be read or written" + cause, "nothing was changed");
    case Errc::deadline: return text("cannot be read in time", "try again, or give it up with mark-lost");
    case Errc::device_gone: return text("the device is gone" + cause, "bring it back, then run remapfs resume");
    default: return text("cannot " + std::string(to_string(verb)), describe(error));
  }
}

}  // namespace

Completion apply_blocks(ControlTarget& target, Verb verb, std::span<const BlockRange> ranges,
                        const std::function<bool(const BlockReport&)>& report) {
  Completion completion;
  const BlockIndex end_of_disk{target.block_count()};
  const auto tell = [&](BlockReport line) {
    if (!line.result) {
      ++completion.failed;
      if (line.result.error().message.empty()) {
        line.result.error().message = sentence(verb, line.block, line.result.error());
      }
    }
    if (report(line)) return true;
    completion.result = fail(Errc::interrupted, "interrupted, some blocks were not tried, ask again");
    return false;
  };
  for (const BlockRange& range : ranges) {
    for (BlockIndex block = range.begin; block < std::min(range.end, end_of_disk); ++block) {
      if (!tell({block, target.apply(verb, block)})) return completion;
    }
    if (range.end > end_of_disk) {
      const BlockIndex outside = std::max(range.begin, end_of_disk);
      Error error{Errc::invalid, 0,
                  fmt::format("block {} is out of range, the disk has {} blocks, use 0-{}", outside.value(),
                              end_of_disk.value(), end_of_disk.value() - 1)};
      if (!tell({outside, fail(std::move(error))})) return completion;
    }
  }
  return completion;
}

}  // namespace remapfs
