// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cli/keeper.hpp"
#include "cli/output.hpp"
#include "cli/succession.hpp"
#include "cli/verbs.hpp"

namespace remapfs::cli {
namespace {

struct GoOnArguments {
  std::string role;
  std::string map;  // for those who look at the list of processes
  std::vector<int> descriptors;
};

// Numbers that are not open descriptors come from somebody who runs this verb by hand.
Result<UniqueFd> take(std::span<const int>& numbers) {
  if (numbers.empty() || ::fcntl(numbers.front(), F_SETFD, FD_CLOEXEC) != 0) {
    return fail(Errc::invalid, "a verb of remapfs's own, go-on, see remapfs upgrade --help");
  }
  UniqueFd descriptor(numbers.front());
  numbers = numbers.subspan(1);
  return descriptor;
}

int run_go_on(const GoOnArguments& arguments, World& world) {
  std::span<const int> numbers(arguments.descriptors);
  auto file = take(numbers);
  if (!file) return report_error(world, file.error(), kExitUsage);
  auto handover = SharedHandover::open(std::move(*file));
  if (!handover) return report_error(world, handover.error());
  if (arguments.role == kRoleTry) {
    const auto record = read_record(**handover);
    return record ? kExitDone : report_error(world, record.error());
  }
  UniqueFd wire;
  if (arguments.role == kRoleServe) {
    auto taken = take(numbers);
    if (!taken) return report_error(world, taken.error(), kExitUsage);
    wire = std::move(*taken);
  }
  auto channel = take(numbers);
  if (!channel) return report_error(world, channel.error(), kExitUsage);
  MountDescriptors descriptors{std::move(*channel), {}};
  while (!numbers.empty()) {
    auto worker = take(numbers);
    if (!worker) return report_error(world, worker.error(), kExitUsage);
    descriptors.workers.push_back(std::move(*worker));
  }
  if (wire) return serve_on(std::move(*handover), std::move(descriptors), std::move(wire), world);
  const auto exit_code = keep_on(std::move(*handover), std::move(descriptors), world);
  return exit_code ? *exit_code : report_error(world, exit_code.error());
}

}  // namespace

void add_go_on(CLI::App& program, Invocation& invocation) {
  auto arguments = std::make_shared<GoOnArguments>();
  CLI::App* const verb = program.add_subcommand(kGoOnVerb, "Follow another process in the service of a mount");
  verb->group("");  // in no help
  verb->add_option("ROLE", arguments->role)->required()->check(CLI::IsMember({kRoleTry, kRoleServe, kRoleKeep}));
  verb->add_option("MAP", arguments->map)->required();
  verb->add_option("DESCRIPTOR", arguments->descriptors)->required();
  verb->callback([arguments, &invocation] { invocation.exit_code = run_go_on(*arguments, invocation.world); });
}

}  // namespace remapfs::cli
