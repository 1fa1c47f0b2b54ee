// SPDX-License-Identifier: Apache-2.0
// Lines of the control protocol, both ways: a request that is accepted is within its bounds and can be sent again.
#include "control/protocol.hpp"

#include "fuzz/fuzz_input.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace remapfs;
  const std::string_view line = fuzz::as_text(data, size);
  if (const auto request = decode_request(line)) {
    REMAPFS_INVARIANT(request->blocks.size() <= kMaxRangesPerRequest);
    for (const BlockRange blocks : request->blocks) REMAPFS_INVARIANT(!blocks.empty());
    const auto again = decode_request(encode(*request));
    REMAPFS_INVARIANT(again && again->verb == request->verb && again->blocks == request->blocks);
  }
  static_cast<void>(decode_reply(line));
  return 0;
}
