// SPDX-License-Identifier: Apache-2.0
// faulty-disk: a disk that fails on command.
#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "control_socket.hpp"
#include "disk_server.hpp"
#include "mount_point.hpp"
#include "rule.hpp"

namespace faulty {
namespace {

constexpr int kDone = 0;
constexpr int kUsage = 1;
constexpr int kCouldNot = 2;

int say(int code, const std::string& message) {
  std::fprintf(stderr, "faulty-disk: %s\n", message.c_str());
  return code;
}
int could_not(const remapfs::Error& error) { return say(kCouldNot, remapfs::describe(error)); }

int run_mount(const MountRequest& request) {
  Result<void> done;
  if (request.foreground) {
    done = serve_disk(
        request, [] {}, [](const std::string& message) { say(0, message); });
  } else {
    done = serve_disk_in_background(request);
  }
  return done ? kDone : could_not(done.error());
}

int run_set(const std::string& target, const std::vector<std::string>& texts) {
  Json rules = Json::array();
  for (const std::string& text : texts) {
    // The disk runs elsewhere: its list files are named from here.
    const Result<RuleSpec> rule = parse_rule(text, std::filesystem::current_path().string());
    if (!rule) return say(kUsage, rule.error().message);
    rules.push_back(to_text(*rule));
  }
  const Result<ControlAnswer> answer = ask_disk(target, {{"verb", "set"}, {"rules", rules}});
  if (!answer) return could_not(answer.error());
  for (const Json& id : answer->body["ids"]) std::printf("%s\n", id.dump().c_str());
  return kDone;
}

int run_clear(const std::string& target, const std::vector<std::string>& names) {
  Json request{{"verb", "clear"}};
  Json ids = Json::array();
  if (names.empty() || (names.size() == 1 && names[0] == "all")) {
    request["all"] = true;
  } else {
    for (const std::string& name : names) {
      const Result<std::uint64_t> id = parse_number(name);
      if (!id) return say(kUsage, fmt::format("not a rule's id, '{}', give numbers from list, or all", name));
      ids.push_back(*id);
    }
    request["ids"] = ids;
  }
  const Result<ControlAnswer> answer = ask_disk(target, request);
  return answer ? kDone : could_not(answer.error());
}

int print_json(Json body) {
  body.erase("ok");
  std::printf("%s\n", body.dump(2).c_str());
  return kDone;
}

int run_list(const std::string& target, bool as_json) {
  const Result<ControlAnswer> answer = ask_disk(target, {{"verb", "list"}});
  if (!answer) return could_not(answer.error());
  if (as_json) return print_json(answer->body);
  fmt::print("{:>4} {:>12} {:>10} {:>10} {:>10} {:>10} {}\n", "ID", "SECTORS", "FAILED", "DELAYED", "CORRUPTED",
             "CURED", "RULE");
  for (const Json& rule : answer->body["rules"]) {
    fmt::print("{:>4} {:>12} {:>10} {:>10} {:>10} {:>10} {}{}\n", rule["id"].dump(), rule["physical_sectors"].dump(),
               rule["failed"].dump(), rule["delayed"].dump(), rule["corrupted"].dump(), rule["cured"].dump(),
               rule["rule"].get<std::string>(), rule["waiting"].get<bool>() ? " (not yet)" : "");
  }
  return kDone;
}

int run_stats(const std::string& target, bool as_json) {
  const Result<ControlAnswer> answer = ask_disk(target, {{"verb", "stats"}});
  if (!answer) return could_not(answer.error());
  const Json& body = answer->body;
  if (as_json) return print_json(body);
  fmt::print("{:<16} {}\n", "image", body["image"].get<std::string>());
  fmt::print("{:<16} {}\n", "size_bytes", body["size_bytes"].dump());
  fmt::print("{:<16} {}\n", "sector_size", body["sector_size"].dump());
  fmt::print("{:<16} {}\n", "gone", body["gone"].is_null() ? "no" : body["gone"].get<std::string>());
  for (const auto& [name, value] : body["io"].items()) fmt::print("{:<16} {}\n", name, value.dump());
  for (const auto& [name, value] : body["process"].items()) fmt::print("{:<16} {}\n", name, value.dump());
  return kDone;
}

int run_gone(const std::string& target, const std::string& state, const std::string& error) {
  Json request{{"verb", "gone"}, {"error", nullptr}};
  if (state == "on") {
    const Result<int> number = parse_errno(error);
    if (!number) return say(kUsage, number.error().message);
    request["error"] = errno_name(*number);
  }
  const Result<ControlAnswer> answer = ask_disk(target, request);
  return answer ? kDone : could_not(answer.error());
}

// Waits for the end of a process. One that has ended already is fine.
void wait_for_exit(int pidfd) {
  pollfd watched{pidfd, POLLIN, 0};
  while (::poll(&watched, 1, -1) < 0 && errno == EINTR) {
  }
}

int run_unmount(const std::string& target) {
  // Before the request: afterwards the number may belong to another process.
  const Result<ControlAnswer> stats = ask_disk(target, {{"verb", "stats"}});
  if (!stats) {
    if (stats.error().code != remapfs::Errc::device_gone || stats.error().os_errno != ENOTCONN) {
      return could_not(stats.error());
    }
    // Nobody serves it any more, only the mount is left.
    const Result<void> done = unmount_in_order(target);
    return done ? kDone : could_not(done.error());
  }
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, stats->server, 0));
  const Result<ControlAnswer> answer = ask_disk(target, {{"verb", "unmount"}});
  if (!answer) return could_not(answer.error());
  if (pidfd >= 0) {
    wait_for_exit(pidfd);
    ::close(pidfd);
  }
  return kDone;
}

int run(int argc, char** argv) {
  CLI::App app{"A disk that fails on command", "faulty-disk"};
  app.require_subcommand(1);
  int code = kDone;

  MountRequest mount_request;
  CLI::App* mount = app.add_subcommand("mount", "Serve IMAGE as a faulty disk");
  mount->add_option("IMAGE", mount_request.image, "File or block device with the data")->required();
  mount
      ->add_option("MOUNTPOINT", mount_request.mount_point,
                   "Directory (shows one file, disk) or file (becomes the disk)")
      ->required();
  mount->add_option("--faults", mount_request.rule_file, "File of rules, one a line")->type_name("FILE");
  mount->add_option("--sector-size", mount_request.sector_size, "Physical sector: what fails as a whole")
      ->check(CLI::IsMember({512, 4096}));
  mount->add_flag("-f,--foreground", mount_request.foreground, "Stay in the foreground");
  mount->add_flag("--allow-other", mount_request.allow_other, "Let other users open the disk");
  mount->callback([&] { code = run_mount(mount_request); });

  std::string target;
  std::vector<std::string> words;
  bool as_json = false;
  const auto add_verb = [&](const char* name, const char* description) {
    CLI::App* verb = app.add_subcommand(name, description);
    verb->add_option("DISK", target, "Mount point, or the disk in it")->required();
    return verb;
  };
  CLI::App* set = add_verb("set", "Add rules; prints their ids");
  set->add_option("RULE", words, "For example sectors=1000-1010,op=read,error=EIO,mode=times:3")->required();
  set->callback([&] { code = run_set(target, words); });
  CLI::App* clear = add_verb("clear", "Remove rules");
  clear->add_option("ID", words, "Ids from list, or all (the default)");
  clear->callback([&] { code = run_clear(target, words); });
  CLI::App* list = add_verb("list", "Show the rules and what each has done");
  list->add_flag("-J,--json", as_json, "Print JSON");
  list->callback([&] { code = run_list(target, as_json); });
  CLI::App* stats = add_verb("stats", "Show what the disk has done");
  stats->add_flag("-J,--json", as_json, "Print JSON");
  stats->callback([&] { code = run_stats(target, as_json); });
  std::string state;
  std::string gone_error = "ENODEV";
  CLI::App* gone = add_verb("gone", "Take the disk away, or give it back");
  gone->add_option("STATE", state, "on or off")->required()->check(CLI::IsMember({"on", "off"}));
  gone->add_option("--error", gone_error, "What every access answers (default ENODEV)")->type_name("NAME");
  gone->callback([&] { code = run_gone(target, state, gone_error); });
  add_verb("unmount", "Unmount and wait until the process has ended")->callback([&] { code = run_unmount(target); });

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return say(kUsage, fmt::format("{}; see faulty-disk --help", error.what()));
  }
  return code;
}

}  // namespace
}  // namespace faulty

int main(int argc, char** argv) {
  try {
    return faulty::run(argc, argv);
  } catch (const std::exception& error) {
    return faulty::say(faulty::kCouldNot, error.what());
  }
}
