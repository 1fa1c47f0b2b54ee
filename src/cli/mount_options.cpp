// SPDX-License-Identifier: Apache-2.0
#include "cli/mount_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

namespace remapfs::cli {
namespace {

// Acted on by mount(8) or systemd, or true of every mount of ours. The mount itself is always nosuid and nodev: the one
// file in it is never run nor a device, so that suid and dev, which mount.fuse3 adds for root, change nothing.
constexpr std::array<std::string_view, 34> kNeutral{
    "defaults",   "auto",        "noauto",     "user",          "nouser",     "users",
    "owner",      "group",       "nofail",     "_netdev",       "suid",       "nosuid",
    "dev",        "nodev",       "exec",       "async",         "sync",       "dirsync",
    "nodirsync",  "atime",       "diratime",   "silent",        "loud",       "nomand",
    "noiversion", "iversion",    "norelatime", "nostrictatime", "nolazytime", "default_permissions",
    "noquota",    "nosymfollow", "symfollow",  "private"};
constexpr std::array<std::string_view, 6> kPassedOn{"noexec",   "noatime",     "nodiratime",
                                                    "relatime", "strictatime", "lazytime"};
constexpr std::array<std::string_view, 5> kNeutralPrefixes{"x-", "X-", "comment=", "user=", "subtype="};
constexpr std::array<std::string_view, 4> kPassedOnPrefixes{"context=", "fscontext=", "defcontext=", "rootcontext="};

template <class List>
bool has(const List& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}
template <class List>
bool has_prefix_of(const List& list, std::string_view word) {
  return std::any_of(list.begin(), list.end(), [&](std::string_view prefix) { return word.starts_with(prefix); });
}

// Splits at commas outside double quotes: SELinux contexts contain commas and come quoted.
std::vector<std::string> split_options(std::string_view list) {
  std::vector<std::string> options(1);
  bool quoted = false;
  for (const char c : list) {
    if (c == '"') quoted = !quoted;
    if (c == ',' && !quoted) {
      options.emplace_back();
    } else {
      options.back() += c;
    }
  }
  std::erase(options, "");
  return options;
}

Result<void> apply_option(MountSettings& settings, const std::string& option) {
  const auto bad_value = [&](std::string_view wanted) {
    return fail(Errc::invalid, fmt::format("bad mount option, {}, use {}", option, wanted));
  };
  if (option == "ro") {
    settings.read_only = true;
  } else if (option == "rw") {
    settings.read_only = false;
  } else if (option == "degraded") {
    settings.degraded = true;
  } else if (option == "allow_other") {
    settings.allow_other = true;
  } else if (option.starts_with("on-loss=")) {
    const std::string_view value = std::string_view(option).substr(8);
    if (value != "fail" && value != "wait") return bad_value("on-loss=fail or on-loss=wait");
    settings.on_loss = value == "wait" ? OnLoss::wait : OnLoss::fail;
  } else if (option.starts_with("engine=")) {
    const std::string_view value = std::string_view(option).substr(7);
    using Engine = MountSettings::Engine;
    if (value != "auto" && value != "io_uring" && value != "blocking") {
      return bad_value("engine=auto, engine=io_uring or engine=blocking");
    }
    settings.engine = value == "auto" ? Engine::automatic : value == "io_uring" ? Engine::io_uring : Engine::blocking;
  } else if (option.starts_with("workers=")) {
    const char* const end = option.data() + option.size();
    unsigned workers = 0;
    const auto [stop, error] = std::from_chars(option.data() + 8, end, workers);
    if (error != std::errc() || stop != end || workers == 0 || workers > kMaxWorkers) {
      return bad_value(fmt::format("workers=1 to workers={}", kMaxWorkers));
    }
    settings.workers = workers;
  } else if (has(kPassedOn, option) || has_prefix_of(kPassedOnPrefixes, option)) {
    settings.passed_on.push_back(option);
  } else if (option == "remount") {
    return fail(Errc::unsupported, "cannot remount, mount option remount, unmount and mount again");
  } else if (!has(kNeutral, option) && !has_prefix_of(kNeutralPrefixes, option)) {
    return fail(Errc::invalid, fmt::format("unknown mount option, {}, see remapfs mount --help", option));
  }
  return {};
}

}  // namespace

Result<MountSettings> parse_mount_options(std::span<const std::string> lists) {
  MountSettings settings;
  for (const std::string& list : lists) {
    for (const std::string& option : split_options(list)) {
      if (auto applied = apply_option(settings, option); !applied) return fail(applied.error());
    }
  }
  if (settings.degraded) settings.read_only = true;
  return settings;
}

}  // namespace remapfs::cli
