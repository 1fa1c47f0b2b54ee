// SPDX-License-Identifier: Apache-2.0
#include "control_verbs.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

namespace faulty {
namespace {

using remapfs::Errc;
using remapfs::fail;

Result<std::vector<RuleSpec>> rules_of(const Json& request) {
  std::vector<RuleSpec> rules;
  for (const Json& text : request.value("rules", Json::array())) {
    if (!text.is_string()) return fail(Errc::invalid, "a rule is not a string");
    Result<RuleSpec> rule = parse_rule(text.get_ref<const std::string&>(), "/");
    if (!rule) return fail(rule.error());
    rules.push_back(std::move(*rule));
  }
  if (rules.empty()) return fail(Errc::invalid, "no rules given");
  return rules;
}

Result<Json> set_rules(const ControlledDisk& disk, const Json& request) {
  const Result<std::vector<RuleSpec>> rules = rules_of(request);
  if (!rules) return fail(rules.error());
  const Result<std::vector<RuleId>> ids = disk.engine.add(*rules);
  if (!ids) return fail(ids.error());
  return Json{{"ids", *ids}};
}

Result<Json> clear_rules(const ControlledDisk& disk, const Json& request) {
  std::size_t removed = 0;
  if (request.value("all", false)) {
    removed = disk.engine.remove_all();
  } else {
    std::vector<RuleId> ids;
    for (const Json& id : request.value("ids", Json::array())) {
      if (!id.is_number_unsigned()) return fail(Errc::invalid, "a rule's id is not a number");
      ids.push_back(id.get<RuleId>());
    }
    if (auto done = disk.engine.remove(ids); !done) return fail(done.error());
    removed = ids.size();
  }
  disk.disk.release_waiting();
  return Json{{"removed", removed}};
}

Result<Json> list_rules(const ControlledDisk& disk) {
  Json rules = Json::array();
  for (const RuleStatus& rule : disk.engine.list()) {
    rules.push_back({{"id", rule.id},
                     {"rule", to_text(rule.spec)},
                     {"waiting", rule.waiting},
                     {"physical_sectors", rule.selected_cells},
                     {"failed", rule.counts.failed},
                     {"delayed", rule.counts.delayed},
                     {"corrupted", rule.counts.corrupted},
                     {"cured", rule.counts.cured}});
  }
  return Json{{"json_format_version", 1}, {"rules", std::move(rules)}};
}

Result<Json> disk_stats(const ControlledDisk& disk) {
  const IoCounts& io = disk.disk.counts();
  const int gone = disk.engine.gone();
  return Json{
      {"json_format_version", 1},
      {"image", disk.image.path()},
      {"size_bytes", disk.image.size().value()},
      {"sector_size", disk.engine.disk().cell_size()},
      {"gone", gone == 0 ? Json() : Json(errno_name(gone))},
      {"io",
       {{"reads", io.reads.value()},
        {"writes", io.writes.value()},
        {"flushes", io.flushes.value()},
        {"zeroes", io.zeroes.value()},
        {"bytes_read", io.bytes_read.value()},
        {"bytes_written", io.bytes_written.value()},
        {"read_errors", io.read_errors.value()},
        {"write_errors", io.write_errors.value()},
        {"flush_errors", io.flush_errors.value()},
        {"refused_gone", io.refused_gone.value()},
        {"delayed", io.delayed.value()},
        {"corrupted_reads", io.corrupted_reads.value()},
        {"image_errors", io.image_errors.value()}}},
      {"process",
       {{"pid", ::getpid()}, {"io_flusher", disk.safety.io_flusher}, {"memory_locked", disk.safety.memory_locked}}}};
}

Result<Json> set_gone(const ControlledDisk& disk, const Json& request) {
  int error = 0;
  if (const Json name = request.value("error", Json()); name.is_string()) {
    const Result<int> number = parse_errno(name.get_ref<const std::string&>());
    if (!number) return fail(number.error());
    error = *number;
  }
  disk.disk.set_gone(error);
  return Json::object();
}

Result<Json> carry_out(const ControlledDisk& disk, const Json& request) {
  const std::string verb = request.value("verb", std::string());
  if (verb == "set") return set_rules(disk, request);
  if (verb == "clear") return clear_rules(disk, request);
  if (verb == "list") return list_rules(disk);
  if (verb == "stats") return disk_stats(disk);
  if (verb == "gone") return set_gone(disk, request);
  if (verb != "unmount") return fail(Errc::invalid, fmt::format("unknown verb '{}'", verb));
  if (auto done = disk.unmount(); !done) return fail(done.error());
  return Json::object();
}

}  // namespace

Json answer_control(const ControlledDisk& disk, const Json& request) {
  Json answer;
  try {
    Result<Json> result = carry_out(disk, request);
    if (!result) return {{"ok", false}, {"error", remapfs::describe(result.error())}};
    answer = std::move(*result);
    answer["ok"] = true;
  } catch (const std::exception& error) {
    // A value of the wrong type, or no memory for a huge list: the request is refused, the disk goes on.
    answer = {{"ok", false}, {"error", error.what()}};
  }
  return answer;
}

}  // namespace faulty
