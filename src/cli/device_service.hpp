// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "control/volume_target.hpp"
#include "io/sysfs.hpp"
#include "volume/replacer.hpp"
#include "volume/scrubber.hpp"

namespace remapfs::cli {

// What a mounted volume is asked to do with its devices: scrub them, take one more spare, replace the primary.
struct DeviceService {
  Volume& volume;
  Scrubber& scrubber;
  Replacer& replacer;
  const KernelViews& views;
  std::function<std::string()> mount_point;
  std::function<void()> on_new_member;

  Result<JobReply> scrub(const ScrubRequest& request) const;
  Result<Outcome> add_spare(const std::string& path) const;
  Result<JobReply> replace(const ReplaceRequest& request) const;
};

}  // namespace remapfs::cli
