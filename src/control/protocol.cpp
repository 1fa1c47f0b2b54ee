// SPDX-License-Identifier: Apache-2.0
#include "control/protocol.hpp"

#include <fmt/format.h>

#include <array>
#include <tuple>
#include <utility>

#include "control/smart_report.hpp"

namespace remapfs {
namespace {

using json = nlohmann::ordered_json;

constexpr std::array<std::pair<Verb, std::string_view>, 15> kVerbs{{
    {Verb::status, "status"},
    {Verb::add, "add"},
    {Verb::remove, "remove"},
    {Verb::retest, "retest"},
    {Verb::mark_lost, "mark-lost"},
    {Verb::clear_lost, "clear-lost"},
    {Verb::resume, "resume"},
    {Verb::unmount, "unmount"},
    {Verb::import_entries, "import"},
    {Verb::upgrade, "upgrade"},
    {Verb::scrub, "scrub"},
    {Verb::spare_add, "spare-add"},
    {Verb::spare_retire, "spare-retire"},
    {Verb::smart, "smart"},
    {Verb::replace, "replace"},
}};

constexpr std::array kOutcomes{Outcome::done, Outcome::already, Outcome::still_bad};
constexpr auto kLastErrc = Errc::interrupted;

std::optional<json> parse_object(std::string_view line) {
  json value = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object()) return std::nullopt;
  return value;
}

void put_result(json& line, const Result<Outcome>& result) {
  if (result) {
    line["outcome"] = to_string(*result);
    return;
  }
  line["outcome"] = "error";
  line["code"] = to_string(result.error().code);
  line["message"] = describe(result.error());
}

std::string text_member(const json& line, const char* name) {
  const auto found = line.find(name);
  return found != line.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::optional<std::uint64_t> count_member(const json& line, const char* name) {
  const auto found = line.find(name);
  if (found == line.end() || !found->is_number_unsigned()) return std::nullopt;
  return found->get<std::uint64_t>();
}

std::optional<Result<Outcome>> result_of(const json& line) {
  const std::string name = text_member(line, "outcome");
  for (const Outcome outcome : kOutcomes) {
    if (name == to_string(outcome)) return outcome;
  }
  if (name != "error") return std::nullopt;
  Error error{Errc::failed, 0, text_member(line, "message")};
  const std::string code = text_member(line, "code");
  for (int i = 0; i <= static_cast<int>(kLastErrc); ++i) {
    if (code == to_string(static_cast<Errc>(i))) error.code = static_cast<Errc>(i);
  }
  return Result<Outcome>(tl::unexpect, std::move(error));
}

Result<std::vector<BlockRange>> ranges_of(const json& request) {
  const auto list = request.find("blocks");
  if (list == request.end() || !list->is_array() || list->empty()) {
    return fail(Errc::invalid, "control request: the verb needs \"blocks\", a list of [begin,end) pairs");
  }
  if (list->size() > kMaxRangesPerRequest) {
    return fail(Errc::invalid, fmt::format("control request: more than {} block ranges", kMaxRangesPerRequest));
  }
  std::vector<BlockRange> ranges;
  ranges.reserve(list->size());
  for (const json& pair : *list) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number_unsigned() || !pair[1].is_number_unsigned()) {
      return fail(Errc::invalid, "control request: a block range is not a pair of numbers");
    }
    const BlockRange range{BlockIndex(pair[0].get<std::uint64_t>()), BlockIndex(pair[1].get<std::uint64_t>())};
    if (range.empty()) return fail(Errc::invalid, "control request: a block range is empty");
    ranges.push_back(range);
  }
  return ranges;
}

Result<std::vector<ImportRun>> entries_of(const json& request) {
  const auto list = request.find("entries");
  if (list == request.end() || !list->is_array() || list->empty() || list->size() > kMaxRangesPerRequest) {
    return fail(Errc::invalid,
                fmt::format("control request: an import needs \"entries\", 1 to {} of them", kMaxRangesPerRequest));
  }
  std::vector<ImportRun> runs;
  runs.reserve(list->size());
  std::uint64_t blocks = 0;
  for (const json& entry : *list) {
    const bool numbers = entry.is_array() && entry.size() == 3 && entry[0].is_number_unsigned() &&
                         entry[1].is_number_unsigned() && entry[2].is_number_unsigned();
    if (!numbers) return fail(Errc::invalid, "control request: an entry is not begin, end and mask");
    const BlockRange range{BlockIndex(entry[0].get<std::uint64_t>()), BlockIndex(entry[1].get<std::uint64_t>())};
    if (range.empty()) return fail(Errc::invalid, "control request: an entry is empty");
    if (range.size() > kMaxBlocksPerImport - blocks) {
      return fail(Errc::invalid,
                  fmt::format("control request: more than {} blocks in one import", kMaxBlocksPerImport));
    }
    blocks += range.size();
    runs.push_back({range, entry[2].get<std::uint64_t>()});
  }
  return runs;
}

// One of the actions from the first to `last`, by its name.
template <class Action>
std::optional<Action> action_of(const json& request, Action last) {
  const std::string name = text_member(request, "action");
  for (int i = 0; i <= static_cast<int>(last); ++i) {
    if (name == to_string(static_cast<Action>(i))) return static_cast<Action>(i);
  }
  return std::nullopt;
}

Result<ReplaceRequest> replace_of(const json& request) {
  const auto action = action_of(request, kLastReplaceAction);
  if (!action) return fail(Errc::invalid, "control request: a replacement needs \"action\"");
  ReplaceRequest replace{*action, text_member(request, "path"), count_member(request, "rate").value_or(0)};
  if (replace.action == ReplaceAction::start && !replace.path.starts_with('/')) {
    return fail(Errc::invalid, "control request: a replacement needs \"path\", an absolute path");
  }
  return replace;
}

Result<ScrubRequest> scrub_of(const json& request) {
  ScrubRequest scrub;
  const auto action = action_of(request, kLastScrubAction);
  if (!action) return fail(Errc::invalid, "control request: a scrub needs \"action\"");
  scrub.action = *action;
  if (!request.contains("rate")) return scrub;
  scrub.rate = count_member(request, "rate");
  if (!scrub.rate) return fail(Errc::invalid, "control request: \"rate\" is not a number");
  return scrub;
}

json encode(const ImportCounts& counts) {
  return {{"lost_blocks", counts.lost_blocks},
          {"lost_sectors", counts.lost_sectors},
          {"weak_blocks", counts.weak_blocks},
          {"existing_blocks", counts.existing_blocks}};
}

std::optional<ImportCounts> import_counts_of(const json& line) {
  const auto found = line.find("imported");
  if (found == line.end() || !found->is_object()) return std::nullopt;
  const auto count = [&](const char* name) { return count_member(*found, name).value_or(0); };
  return ImportCounts{count("lost_blocks"), count("lost_sectors"), count("weak_blocks"), count("existing_blocks")};
}

}  // namespace

std::string_view to_string(Verb verb) {
  for (const auto& [candidate, name] : kVerbs) {
    if (candidate == verb) return name;
  }
  invariant_failed("Verb has a name", __FILE__, __LINE__);
}

std::optional<Verb> verb_of(std::string_view name) {
  for (const auto& [verb, candidate] : kVerbs) {
    if (candidate == name) return verb;
  }
  return std::nullopt;
}

bool takes_blocks(Verb verb) {
  switch (verb) {
    case Verb::add:
    case Verb::remove:
    case Verb::retest:
    case Verb::mark_lost:
    case Verb::clear_lost: return true;
    case Verb::status:
    case Verb::resume:
    case Verb::unmount:
    case Verb::import_entries:
    case Verb::upgrade:
    case Verb::scrub:
    case Verb::spare_add:
    case Verb::spare_retire:
    case Verb::replace:
    case Verb::smart: return false;
  }
  return false;
}

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::done: return "done";
    case Outcome::already: return "already";
    case Outcome::still_bad: return "still-bad";
  }
  invariant_failed("Outcome has a name", __FILE__, __LINE__);
}

std::string encode(const Request& request) {
  json line{{"protocol", kProtocolVersion}, {"verb", to_string(request.verb)}};
  if (takes_blocks(request.verb)) {
    json ranges = json::array();
    for (const BlockRange& range : request.blocks) {
      ranges.push_back(json::array({range.begin.value(), range.end.value()}));
    }
    line["blocks"] = std::move(ranges);
  }
  if (request.verb == Verb::import_entries) {
    json entries = json::array();
    for (const ImportRun& run : request.entries) {
      entries.push_back(json::array({run.blocks.begin.value(), run.blocks.end.value(), run.lost}));
    }
    line["entries"] = std::move(entries);
  }
  if (request.verb == Verb::upgrade) line["program"] = request.program;
  if (request.verb == Verb::spare_add) line["path"] = request.path;
  if (request.verb == Verb::spare_retire) line["spare"] = request.spare;
  if (request.verb == Verb::smart) line["readings"] = to_json(request.smart);
  if (request.verb == Verb::scrub) {
    line["action"] = to_string(request.scrub.action);
    if (request.scrub.rate) line["rate"] = *request.scrub.rate;
  }
  if (request.verb == Verb::replace) {
    line["action"] = to_string(request.replace.action);
    if (!request.replace.path.empty()) line["path"] = request.replace.path;
    if (request.replace.rate != 0) line["rate"] = request.replace.rate;
  }
  return to_line(line);
}

std::string to_line(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

json encode(const BlockReport& report) {
  json line{{"block", report.block.value()}};
  put_result(line, report.result);
  return line;
}

json encode(const Completion& completion) {
  json line{{"done", true}, {"failed", completion.failed}};
  put_result(line, completion.result);
  if (completion.imported) line["imported"] = encode(*completion.imported);
  if (!completion.scrub.is_null()) line["scrub"] = completion.scrub;
  if (!completion.replacement.is_null()) line["replacement"] = completion.replacement;
  return line;
}

Result<Request> decode_request(std::string_view line) {
  const auto parsed = parse_object(line);
  if (!parsed) return fail(Errc::invalid, "control request: not a JSON object");
  const auto protocol = count_member(*parsed, "protocol");
  if (!protocol) return fail(Errc::invalid, "control request: no \"protocol\" number");
  if (*protocol != kProtocolVersion) {
    return fail(Errc::too_new, fmt::format("control request: protocol {} is not spoken here (only {}), use the "
                                           "remapfs that made the mount",
                                           *protocol, kProtocolVersion));
  }
  const auto verb = verb_of(text_member(*parsed, "verb"));
  if (!verb) return fail(Errc::invalid, "control request: unknown verb");
  Request request{*verb, {}, {}};
  if (takes_blocks(*verb)) {
    auto ranges = ranges_of(*parsed);
    if (!ranges) return fail(ranges.error());
    request.blocks = std::move(*ranges);
  }
  if (*verb == Verb::import_entries) {
    auto entries = entries_of(*parsed);
    if (!entries) return fail(entries.error());
    request.entries = std::move(*entries);
  }
  if (*verb == Verb::scrub) {
    auto scrub = scrub_of(*parsed);
    if (!scrub) return fail(scrub.error());
    request.scrub = *scrub;
  }
  if (*verb == Verb::replace) {
    auto replace = replace_of(*parsed);
    if (!replace) return fail(replace.error());
    request.replace = std::move(*replace);
  }
  if (*verb == Verb::smart) {
    auto readings = smart_readings_of(parsed->value("readings", json()));
    if (!readings) return fail(readings.error());
    request.smart = std::move(*readings);
  }
  if (*verb == Verb::spare_retire) {
    const auto spare = count_member(*parsed, "spare");
    if (!spare || *spare == 0 || *spare > 255) {
      return fail(Errc::invalid, "control request: the verb needs \"spare\", a number from 1 to 255");
    }
    request.spare = static_cast<SpareId>(*spare);
  }
  for (const auto& [for_verb, name, path] :
       {std::tuple{Verb::upgrade, "program", &request.program}, {Verb::spare_add, "path", &request.path}}) {
    if (*verb != for_verb) continue;
    *path = text_member(*parsed, name);
    if (path->starts_with('/')) continue;
    return fail(Errc::invalid, fmt::format("control request: the verb needs \"{}\", an absolute path", name));
  }
  return request;
}

Result<ReplyLine> decode_reply(std::string_view line) {
  auto parsed = parse_object(line);
  const Error garbled{Errc::invalid, 0, "control socket: the daemon's answer cannot be understood"};
  if (!parsed) return fail(garbled);
  ReplyLine reply;
  if (const auto status = parsed->find("status"); status != parsed->end() && status->is_object()) {
    reply.status = std::move(*status);
    return reply;
  }
  auto result = result_of(*parsed);
  if (!result) return fail(garbled);
  if (const auto block = count_member(*parsed, "block")) {
    reply.block = BlockReport{BlockIndex(*block), std::move(*result)};
    return reply;
  }
  if (parsed->contains("done")) {
    reply.completion =
        Completion{std::move(*result), count_member(*parsed, "failed").value_or(0), import_counts_of(*parsed), {}, {}};
    for (const auto& [name, job] :
         {std::pair{"scrub", &reply.completion->scrub}, {"replacement", &reply.completion->replacement}}) {
      if (const auto found = parsed->find(name); found != parsed->end() && found->is_object()) *job = std::move(*found);
    }
    return reply;
  }
  return fail(garbled);
}

}  // namespace remapfs
