// SPDX-License-Identifier: Apache-2.0
#include "cli/device_service.hpp"

#include <utility>

#include "cli/new_primary.hpp"
#include "cli/spare_device.hpp"
#include "control/replace_report.hpp"
#include "control/scrub_report.hpp"

namespace remapfs::cli {

Result<JobReply> DeviceService::scrub(const ScrubRequest& request) const {
  const auto outcome = scrubber.apply(request);
  if (!outcome) return fail(outcome.error());
  return JobReply{*outcome, to_json(scrubber.status(), volume.info())};
}

Result<Outcome> DeviceService::add_spare(const std::string& path) const {
  if (auto apart = check_stands_apart(path, "spare", mount_point(), views); !apart) return fail(apart.error());
  auto spare = open_prepared_spare(path, volume.info(), views);
  if (!spare) return fail(spare.error());
  if (auto added = volume.add_spare(std::move(*spare)); !added) return fail(added.error());
  on_new_member();
  return Outcome::done;
}

Result<JobReply> DeviceService::replace(const ReplaceRequest& request) const {
  Outcome outcome = Outcome::done;
  if (request.action == ReplaceAction::stop) outcome = replacer.stop();
  if (request.action == ReplaceAction::start) {
    if (auto apart = check_stands_apart(request.path, "new primary", mount_point(), views); !apart) {
      return fail(apart.error());
    }
    auto next = open_new_primary(request.path, volume.info(), views);
    if (!next) return fail(next.error());
    if (auto started = replacer.start(std::move(*next), request.rate); !started) return fail(started.error());
  }
  return JobReply{outcome, to_json(replacer.status())};
}

}  // namespace remapfs::cli
