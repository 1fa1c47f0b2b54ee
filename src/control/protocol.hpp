// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"
#include "remapfs/error.hpp"
#include "remapfs/replace.hpp"
#include "remapfs/units.hpp"
#include "remapfs/volume.hpp"

// What is said over the control socket.
//
// Shape: one connection carries one request. The request is one line of JSON,
//     {"protocol":1,"verb":"add","blocks":[[10,12],[40,41]]}
//   the answer is any number of lines of results, then one line that says it is over:
//     {"block":10,"outcome":"done"}
//     {"block":11,"outcome":"error","code":"lost","message":"..."}
//     {"done":true,"outcome":"done","failed":1}          or {"done":true,"code":"busy","message":"..."}
//   An import has entries instead of blocks, runs of neighbours with the mask of the sectors that are lost (0: weak),
//   and its last line says what it has done:
//     {"protocol":1,"verb":"import","entries":[[10,12,255],[40,41,0]]}
//     {"done":true,"failed":0,"outcome":"done","imported":{"lost_blocks":2,...}}
//   scrub says what to do, and maybe a rate; its last line says how the scrub is, as in a status:
//     {"protocol":1,"verb":"scrub","action":"start","rate":67108864}
//     {"done":true,"failed":0,"outcome":"done","scrub":{"state":"running",...}}
//   spare-add names a device that was prepared to be a spare; spare-retire a spare, and reports each block that moved:
//     {"protocol":1,"verb":"spare-add","path":"/srv/more.spare"}
//     {"protocol":1,"verb":"spare-retire","spare":1}
//   replace says what to do, and to start the path of the new primary and maybe a rate; its last line says how it is:
//     {"protocol":1,"verb":"replace","action":"start","path":"/dev/sdc","rate":67108864}
//     {"done":true,"failed":0,"outcome":"done","replacement":{"state":"copying",...}}
//   smart brings what drives said of themselves, to be kept in the map:
//     {"protocol":1,"verb":"smart","readings":[{"device":0,"at":"...","drive":"...","passed":true,"pending":0,...}]}
//   upgrade names a program: {"protocol":1,"verb":"upgrade","program":"/usr/bin/remapfs"}.
//   Block ranges are half open. A connection that ends without the last line was cut off: what became of the rest of
//   the request is unknown and may be asked again, since every verb may be repeated.
// Compatibility: a server refuses a protocol number it does not know (too_new); members it does not know are ignored.

namespace remapfs {

inline constexpr int kProtocolVersion = 1;
// Bounds of one request. 4096 ranges of two 20-digit numbers fit, and 4096 entries of block numbers and a mask.
inline constexpr std::size_t kMaxRequestBytes = std::size_t{256} << 10U;
inline constexpr std::size_t kMaxRangesPerRequest = 4096;
// Of one import, so that its answer does not take long.
inline constexpr std::uint64_t kMaxBlocksPerImport = 65536;
// Bound of one line of an answer.
inline constexpr std::size_t kMaxReplyBytes = std::size_t{1} << 20U;

enum class Verb : std::uint8_t {
  status,
  add,
  remove,
  retest,
  mark_lost,
  clear_lost,
  resume,
  unmount,
  import_entries,
  upgrade,
  scrub,
  spare_add,
  spare_retire,
  smart,
  replace
};
[[nodiscard]] std::string_view to_string(Verb verb);  // as on the command line: "mark-lost"
[[nodiscard]] std::optional<Verb> verb_of(std::string_view name);
// True for the verbs that work block by block.
[[nodiscard]] bool takes_blocks(Verb verb);

struct Request {
  Verb verb = Verb::status;
  std::vector<BlockRange> blocks;    // for the verbs that take blocks; none empty
  std::vector<ImportRun> entries{};  // for an import; none empty
  std::string program{};             // for upgrade: its absolute path
  ScrubRequest scrub{};              // for scrub
  std::string path{};                // for spare-add: absolute
  SpareId spare = 0;                 // for spare-retire
  std::vector<SmartReading> smart{};
  ReplaceRequest replace{};  // for replace
};

// What a verb did to one block: an outcome, or why it could not.
struct BlockReport {
  BlockIndex block;
  Result<Outcome> result = Outcome::done;
};

// The last line of an answer: how the request as a whole ended.
struct Completion {
  Result<Outcome> result = Outcome::done;
  std::uint64_t failed = 0;                // blocks whose report is an error
  std::optional<ImportCounts> imported{};  // by an import, also by one that failed
  nlohmann::ordered_json scrub{};          // by a scrub: see scrub_report.hpp; null otherwise
  nlohmann::ordered_json replacement{};    // by a replacement: see replace_report.hpp; null otherwise
};

[[nodiscard]] std::string_view to_string(Outcome outcome);  // "done", "already", "still-bad"

[[nodiscard]] std::string encode(const Request& request);
[[nodiscard]] nlohmann::ordered_json encode(const BlockReport& report);
[[nodiscard]] nlohmann::ordered_json encode(const Completion& completion);

// Errors: invalid (not a request; the message says why), too_new (another protocol).
Result<Request> decode_request(std::string_view line);

// JSON on one line, as it is sent. Bytes that are not UTF-8 (of file names) are replaced.
[[nodiscard]] std::string to_line(const nlohmann::ordered_json& value);

// One line of an answer, as the client sees it.
struct ReplyLine {
  std::optional<BlockReport> block;
  std::optional<Completion> completion;
  nlohmann::ordered_json status;  // null unless the line carries a status
};
// Errors: invalid.
Result<ReplyLine> decode_reply(std::string_view line);

}  // namespace remapfs
