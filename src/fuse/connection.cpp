// SPDX-License-Identifier: Apache-2.0
#include "fuse/connection.hpp"

#include <cap-ng.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace remapfs::fuse {

namespace {

std::optional<std::uint32_t> read_number(const std::string& path) {
  std::ifstream file(path);
  std::uint32_t value = 0;
  if (file >> value) return value;
  return std::nullopt;
}

bool privileged() {
  return capng_get_caps_process() == 0 && capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN) != 0;
}

}  // namespace

ConnectionLimits granted_limits(const ConnectionLimits& asked, std::optional<unsigned> connection) {
  if (connection) {
    const std::string folder = "/sys/fs/fuse/connections/" + std::to_string(*connection);
    const auto background = read_number(folder + "/max_background");
    const auto congestion = read_number(folder + "/congestion_threshold");
    if (background && congestion) return {*background, *congestion, true};
  }
  if (privileged()) return {asked.max_background, asked.congestion_threshold, false};
  const std::string parameters = "/sys/module/fuse/parameters";
  return {std::min(asked.max_background, read_number(parameters + "/max_user_bgreq").value_or(asked.max_background)),
          std::min(asked.congestion_threshold,
                   read_number(parameters + "/max_user_congthresh").value_or(asked.congestion_threshold)),
          false};
}

}  // namespace remapfs::fuse
