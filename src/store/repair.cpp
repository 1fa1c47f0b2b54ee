// SPDX-License-Identifier: Apache-2.0
#include "store/repair.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "store/rebuild.hpp"
#include "store/sqlite_map_store.hpp"

namespace remapfs::store {
namespace {

using Severity = Finding::Severity;

bool is_about_the_file(const Finding& finding) {
  return finding.severity == Severity::error &&
         (finding.subject == "database" || finding.subject == "volume" || finding.subject == "row");
}

bool same(const Finding& l, const Finding& r) { return l.subject == r.subject && l.text == r.text; }

// Mounts and unmounts, as it were: that mends by itself what it accepts.
Result<void> mend(const std::string& path, const std::map<SpareId, BlockDevice*>& spares) {
  auto store = SqliteMapStore::open_loaded(path, {.read_only = false, .degraded = false, .repair = true}, spares);
  if (!store) return fail(std::move(store.error()));
  return (*store)->close();
}

}  // namespace

Result<Repair> repair_map(const std::string& path, const std::map<SpareId, BlockDevice*>& spares) {
  auto before = check_map(path, spares);
  if (!before) return fail(std::move(before.error()));
  Repair repair;
  if (before->empty()) return repair;
  for (const Finding& finding : *before) {
    if (finding.severity == Severity::note) return fail(Errc::not_found, finding.text + ", bring it back first");
  }
  Result<void> done;
  if (std::any_of(before->begin(), before->end(), is_about_the_file)) {
    auto rebuilt = rebuild_map(path, spares);
    if (rebuilt) {
      repair.kept_as = std::move(rebuilt->kept_as);
      repair.lost = std::move(rebuilt->lost);
    } else {
      done = fail(std::move(rebuilt.error()));
    }
  }
  if (done) done = mend(path, spares);
  if (!done) repair.reason = describe(done.error());
  auto after = check_map(path, spares);
  // Where there is no map any more, why not matters more.
  if (!after) return fail(done ? std::move(after.error()) : std::move(done.error()));
  repair.left = std::move(*after);
  if (!repair.left.empty() && repair.reason.empty()) {
    repair.reason = fmt::format("{}, not everything could be written where it belongs, run `remapfs check`", path);
  }
  for (Finding& finding : *before) {
    const bool still_there =
        std::any_of(repair.left.begin(), repair.left.end(), [&](const Finding& left) { return same(left, finding); });
    if (!still_there) repair.mended.push_back(std::move(finding));
  }
  return repair;
}

}  // namespace remapfs::store
