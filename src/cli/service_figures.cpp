// SPDX-License-Identifier: Apache-2.0
#include "cli/service_figures.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstring>

#include "remapfs/version.hpp"

namespace remapfs::cli {

nlohmann::ordered_json transport_figures(const fuse::TransportInfo& info, std::optional<unsigned> connection) {
  const auto no_uring = info.no_uring.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(info.no_uring);
  return {{"workers", info.workers},
          {"no_io_uring", no_uring},
          {"cloned_descriptors", info.cloned},
          {"protocol", fmt::format("{}.{}", info.init.protocol_major, info.init.protocol_minor)},
          {"max_write", info.init.max_write},
          {"max_read", info.init.max_read},
          {"max_readahead", info.init.max_readahead},
          {"max_background", info.limits.max_background},
          {"congestion_threshold", info.limits.congestion_threshold},
          {"limits_confirmed", info.limits.confirmed},
          {"connection", connection ? nlohmann::ordered_json(*connection) : nlohmann::ordered_json(nullptr)}};
}

nlohmann::ordered_json survival_figures(const Handover& handover, bool can_resend, bool granted) {
  nlohmann::ordered_json reason = nullptr;
  if (!can_resend) {
    reason = "the kernel cannot send requests again (Linux 6.9 can)";
  } else if (!granted) {
    reason = "nobody keeps the mount's descriptors";
  }
  const bool failed = handover.message[0] != '\0';
  return {{"granted", granted},
          {"reason", std::move(reason)},
          {"restarts", handover.restarts.load()},
          {"upgrades", handover.upgrades.load()},
          {"failed_upgrades", handover.refusals.load()},
          {"last_failure", failed ? nlohmann::ordered_json(handover.message.data()) : nlohmann::ordered_json(nullptr)},
          {"program", kVersion}};
}

std::string restart_in_words(const Handover& handover) {
  const int signal = handover.last_signal;
  if (signal == 0) return fmt::format("process {} goes on for one that ended", ::getpid());
  return fmt::format("process {} goes on for one that was ended by signal {} ({})", ::getpid(), signal,
                     ::strsignal(signal));
}

}  // namespace remapfs::cli
