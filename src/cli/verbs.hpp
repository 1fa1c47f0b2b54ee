// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/world.hpp"

namespace CLI {
class App;
}

namespace remapfs::cli {

// What a verb works with while the arguments are parsed: it runs as soon as its own are known.
struct Invocation {
  World& world;
  int exit_code = kExitDone;
};

// Each adds one verb, with its help and an example, to the program. The invocation outlives the parsing.
void add_create(CLI::App& program, Invocation& invocation);
void add_mount(CLI::App& program, Invocation& invocation);
void add_unmount(CLI::App& program, Invocation& invocation);
void add_attach(CLI::App& program, Invocation& invocation);
void add_detach(CLI::App& program, Invocation& invocation);
void add_status(CLI::App& program, Invocation& invocation);
void add_list(CLI::App& program, Invocation& invocation);
void add_block_verbs(CLI::App& program, Invocation& invocation);  // add remove retest mark-lost clear-lost
void add_import(CLI::App& program, Invocation& invocation);
void add_export(CLI::App& program, Invocation& invocation);
void add_replace(CLI::App& program, Invocation& invocation);
void add_scrub(CLI::App& program, Invocation& invocation);
void add_spare(CLI::App& program, Invocation& invocation);
void add_resume(CLI::App& program, Invocation& invocation);
void add_events(CLI::App& program, Invocation& invocation);
void add_report(CLI::App& program, Invocation& invocation);
void add_smart(CLI::App& program, Invocation& invocation);
void add_files(CLI::App& program, Invocation& invocation);
void add_metrics(CLI::App& program, Invocation& invocation);
void add_check(CLI::App& program, Invocation& invocation);
void add_repair(CLI::App& program, Invocation& invocation);
void add_recover(CLI::App& program, Invocation& invocation);
void add_backup(CLI::App& program, Invocation& invocation);
void add_destroy(CLI::App& program, Invocation& invocation);
void add_upgrade(CLI::App& program, Invocation& invocation);
void add_go_on(CLI::App& program, Invocation& invocation);  // not for people: see succession.hpp

}  // namespace remapfs::cli
