// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "cli/handover.hpp"
#include "core/json.hpp"
#include "fuse/transport.hpp"

// Parts of the status that only the serving process knows.

namespace remapfs::cli {

// What the transport was granted. connection: its number, when it is known.
[[nodiscard]] nlohmann::ordered_json transport_figures(const fuse::TransportInfo& info,
                                                       std::optional<unsigned> connection);

// Whether the mount survives the process, why not, and how often it has. can_resend: the kernel can send requests
// again.
[[nodiscard]] nlohmann::ordered_json survival_figures(const Handover& handover, bool can_resend, bool granted);

// This process's restart, for the history.
[[nodiscard]] std::string restart_in_words(const Handover& handover);

}  // namespace remapfs::cli
