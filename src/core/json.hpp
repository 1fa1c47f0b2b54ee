// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>

// nlohmann/json, included by this header only. Asking a constant object for a member that is not there is undefined
// there unless assertions are on; here it throws. What a daemon of another version, or of another user, says is
// read member by member.

namespace remapfs {

class JsonMemberMissing : public std::out_of_range {
 public:
  JsonMemberMissing() : std::out_of_range("a member is missing") {}
};

[[noreturn]] inline void throw_json_member_missing() { throw JsonMemberMissing(); }

}  // namespace remapfs

#define JSON_ASSERT(condition) ((condition) ? static_cast<void>(0) : ::remapfs::throw_json_member_missing())
#include <nlohmann/json.hpp>  // IWYU pragma: export
