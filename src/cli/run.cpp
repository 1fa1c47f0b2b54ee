// SPDX-License-Identifier: Apache-2.0
#include "cli/run.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <new>
#include <ostream>
#include <string>
#include <vector>

#include "cli/output.hpp"
#include "cli/verbs.hpp"
#include "remapfs/version.hpp"

namespace remapfs::cli {
namespace {

constexpr const char* kDescription = "Keeps a disk with bad sectors in use: bad blocks move to a spare.";
constexpr const char* kFooter =
    "TARGET is a map file, a mount point, or the disk in it. BLOCK is a number, 0xHEX, or FIRST-LAST.\n"
    "Exit codes: 0 done, 1 usage, 2 could not (or findings of check), 32 could not mount.\n\n"
    "Example:\n"
    "  remapfs create /var/lib/old.remapfs --primary /dev/sdb --spare /srv/old.spare --spare-size 1G\n"
    "  remapfs attach /var/lib/old.remapfs\n"
    "\"remapfs VERB --help\" tells more.";

bool has_verb(const CLI::App& program, const std::string& name) {
  const auto verbs = program.get_subcommands([](const CLI::App*) { return true; });
  return std::any_of(verbs.begin(), verbs.end(), [&](const CLI::App* verb) { return verb->get_name() == name; });
}

bool is_regular_file(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

// mount(8) and mount.fuse3 call "remapfs MAP MOUNTPOINT [-o OPTIONS] [-s] [-n] [-v]": no verb has a slash in it, and a
// verb wins over a file of its name.
bool is_mount_helper_call(const std::vector<std::string>& args, const CLI::App& program) {
  if (args.size() < 2 || args[0].empty() || args[0].front() == '-') return false;
  if (args[0].find('/') != std::string::npos) return true;
  return !has_verb(program, args[0]) && is_regular_file(args[0]);
}

std::vector<std::string> as_mount_verb(const std::vector<std::string>& args) {
  std::vector<std::string> verb{"mount"};
  for (const std::string& arg : args) {
    // Sloppy, no /etc/mtab, verbose: what mount(8) passes on and has no meaning here.
    if (arg != "-s" && arg != "-n" && arg != "-v") verb.push_back(arg);
  }
  return verb;
}

int parse_and_run(std::span<const char* const> raw_args, World& world) {
  Invocation invocation{world};
  CLI::App program(kDescription, "remapfs");
  program.footer(kFooter);
  program.set_version_flag("--version", std::string("remapfs ") + kVersion, "Show the version and end");
  program.get_formatter()->column_width(34);
  program.require_subcommand(0, 1);  // a target or an action may have the name of a verb
  add_create(program, invocation);
  add_mount(program, invocation);
  add_unmount(program, invocation);
  add_attach(program, invocation);
  add_detach(program, invocation);
  add_status(program, invocation);
  add_list(program, invocation);
  add_block_verbs(program, invocation);
  add_import(program, invocation);
  add_export(program, invocation);
  add_scrub(program, invocation);
  add_spare(program, invocation);
  add_replace(program, invocation);
  add_resume(program, invocation);
  add_events(program, invocation);
  add_metrics(program, invocation);
  add_report(program, invocation);
  add_files(program, invocation);
  add_smart(program, invocation);
  add_check(program, invocation);
  add_repair(program, invocation);
  add_recover(program, invocation);
  add_backup(program, invocation);
  add_destroy(program, invocation);
  add_upgrade(program, invocation);
  add_go_on(program, invocation);

  std::vector<std::string> args(raw_args.begin(), raw_args.end());
  if (args.empty()) return report_error(world, "usage, no verb was given, see remapfs --help", kExitUsage);
  if (is_mount_helper_call(args, program)) args = as_mount_verb(args);
  if (args[0].front() != '-' && !has_verb(program, args[0])) {
    return report_error(world, fmt::format("usage, unknown verb {}, see remapfs --help", args[0]), kExitUsage);
  }
  try {
    std::reverse(args.begin(), args.end());  // as CLI11 wants them
    program.parse(args);
  } catch (const CLI::CallForHelp&) {
    const auto chosen = program.get_subcommands();
    world.out << (chosen.empty() ? program : *chosen.front()).help();
  } catch (const CLI::CallForVersion&) {
    world.out << program.version() << '\n';
  } catch (const CLI::ParseError& error) {
    const auto chosen = program.get_subcommands();
    const std::string verb = chosen.empty() ? "" : " " + chosen.front()->get_name();
    return report_error(world, fmt::format("usage, {}, see remapfs{} --help", one_line(error.what()), verb),
                        kExitUsage);
  }
  return invocation.exit_code;
}

}  // namespace

int run(std::span<const char* const> args, World& world) {
  // Libraries below may throw when memory runs out; nothing else steers by exceptions but what reads answers.
  try {
    const int exit_code = unless_not_understood(world, [&] { return parse_and_run(args, world); });
    world.out.flush();
    if (!world.out) return report_error(world, "cannot write the output, standard output, make room or close the pipe");
    return exit_code;
  } catch (const std::bad_alloc&) {
    return report_error(world, "no memory is left, this command, free some and try again");
  }
}

}  // namespace remapfs::cli
