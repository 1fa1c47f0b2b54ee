// SPDX-License-Identifier: Apache-2.0
#include "cli/with_volume.hpp"

#include "cli/assemble.hpp"
#include "cli/output.hpp"

namespace remapfs::cli {

Result<void> with_volume(const std::string& map_path, World& world, const std::function<Result<void>(Volume&)>& use) {
  AssembleOptions how;
  how.views = world.views;
  auto assembled = assemble(map_path, how);
  if (!assembled) return fail(assembled.error());
  for (const std::string& warning : assembled->warnings) report_note(world, warning);
  auto used = use(*assembled->volume);
  auto closed = assembled->volume->close();
  return used ? closed : used;
}

}  // namespace remapfs::cli
