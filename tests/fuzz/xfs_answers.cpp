// SPDX-License-Identifier: Apache-2.0
// What xfs_db prints of a file system that may be anything: first of the superblock, then of a block, then of a file.
#include <algorithm>
#include <utility>

#include "fuzz/fuzz_input.hpp"
#include "owners/xfs_owners.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace remapfs;
  using namespace remapfs::owners;
  const std::string text(fuzz::as_text(data, size));
  std::ignore = parse_xfs_superblock(text);
  std::ignore = parse_xfs_bmap(text);
  if (const auto use = parse_xfs_use(text)) REMAPFS_INVARIANT(!use->type.empty() || use->inode == 0);
  const FileSystem where{0, {ByteOffset(0), ByteOffset(64U << 20U)}, "xfs"};
  const std::vector<SectorRun> runs{{3, 2}, {800, 9}};
  // All that it may say is said of the sectors that were asked about, each once.
  bool first = true;
  const auto owners = xfs_owners(where, runs, [&](const std::string& script) -> Result<std::string> {
    if (std::exchange(first, false)) {
      return "\nblocksize = 4096\nagblocks = 4096\nagblklog = 12\nagcount = 4\n" + text.substr(0, text.find('\0'));
    }
    std::string answer = text;
    for (std::size_t from = 0; from < script.size();) {
      const std::size_t end = std::min(script.find('\n', from), script.size());
      if (script.compare(from, 5, "echo ") == 0) answer += script.substr(from + 5, end - from - 5) + " \n" + text;
      from = end + 1;
    }
    return answer;
  });
  if (!owners) return 0;
  std::uint64_t sectors = 0;
  std::uint64_t end = 0;
  for (const Owner& owner : *owners) {
    REMAPFS_INVARIANT(owner.first >= end && owner.count != 0);
    end = owner.first + owner.count;
    sectors += owner.count;
  }
  REMAPFS_INVARIANT(sectors == 11);
  return 0;
}
