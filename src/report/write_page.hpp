// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iosfwd>

#include "core/json.hpp"

namespace remapfs::report {

// The report as one HTML page that loads nothing. data: as docs/schema/report.schema.json has it; its texts are nothing
// but text in the page, whatever they contain.
void write_page(const nlohmann::ordered_json& data, std::ostream& out);

}  // namespace remapfs::report
