// SPDX-License-Identifier: Apache-2.0
#include "cli/assemble.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "io/device_identity.hpp"
#include "io/device_slice.hpp"
#include "io/member_check.hpp"
#include "io/posix_device.hpp"
#include "io/proc_files.hpp"
#include "store/sqlite_map_store.hpp"

namespace remapfs::cli {
namespace {

// Says which member an error is about, unless the message does.
Error about(const Error& error, std::string_view role, const std::string& path) {
  if (!error.message.empty()) return error;
  return {error.code, error.os_errno,
          fmt::format("cannot use the {}, {} ({}), check the device", role, path, describe(error))};
}

Result<std::unique_ptr<BlockDevice>> open_one(const std::string& path, std::string_view role,
                                              const AssembleOptions& options) {
  if (!options.goes_on) {
    if (auto unused = check_unused(path, options.views); !unused) return fail(about(unused.error(), role, path));
  }
  DeviceOptions how;
  how.read_only = options.read_only;
  how.lock_wait = options.lock_wait;
  how.views = options.views;
  auto device = open_device(path, how);
  if (!device) return fail(about(device.error(), role, path));
  return device;
}

// The device of the primary, which is opened once, and may hold a spare as well.
struct PrimaryDevice {
  std::unique_ptr<MemberDevice> disk;
  std::shared_ptr<BlockDevice> whole;  // nothing: the disk is all of it
};

// It may be larger than the disk: it took another's place and is as it was bought, or its end is a spare.
Result<PrimaryDevice> open_primary(const VolumeInfo& info, const AssembleOptions& options) {
  auto device = open_one(info.primary_path, "primary", options);
  if (!device) return fail(device.error());
  if ((*device)->geometry().size <= info.size)
    return PrimaryDevice{std::make_unique<MemberDevice>(std::move(*device)), {}};
  PrimaryDevice primary;
  primary.whole = std::move(*device);
  auto part = DeviceSlice::make(primary.whole, {ByteOffset(0), ByteOffset(info.size.value())});
  if (!part) return fail(part.error());
  primary.disk = std::make_unique<MemberDevice>(std::move(*part));
  return primary;
}

Result<std::unique_ptr<MemberDevice>> open_spare(const SpareInfo& spare, const VolumeInfo& info,
                                                 const std::shared_ptr<BlockDevice>& whole, MemberDevice& disk,
                                                 const AssembleOptions& options) {
  if (info.is_end_of_primary(spare)) {
    const ByteCount size = whole ? whole->geometry().size : info.size;
    if (size.value() <= spare.begin.value()) {
      return fail(Errc::foreign, fmt::format("nothing is behind the disk, where the spare was, {}, give it back its "
                                             "size",
                                             spare.path));
    }
    auto part = DeviceSlice::make(whole, {spare.begin, ByteOffset(size.value())});
    if (!part) return fail(about(part.error(), "spare", spare.path));
    return std::make_unique<MemberDevice>(std::move(*part), &disk);
  }
  auto device = open_one(spare.path, "spare", options);
  if (!device) return fail(device.error());
  auto part = DeviceSlice::rest_of(std::move(*device), spare.begin);
  if (!part) return fail(about(part.error(), "spare", spare.path));
  return std::make_unique<MemberDevice>(std::move(*part));
}

Result<void> check_primary(const VolumeInfo& info, const BlockDevice& primary, const KernelViews& views) {
  const auto recorded = parse_identity(info.primary_identity);
  if (!recorded) return fail(about(recorded.error(), "map's record of the primary", info.map_path));
  const auto now = identify_device(primary.native_handle(), views);
  if (!now) return fail(about(now.error(), "primary", info.primary_path));
  return check_same_device(*recorded, *now, info.primary_path);
}

bool is_absent(const Error& error) { return error.code == Errc::not_found || error.code == Errc::device_gone; }

}  // namespace

bool was_changed(const VolumeInfo& info, const std::string& stamp) {
  return info.clean && !info.primary_stamp.empty() && stamp != info.primary_stamp;
}

std::string change_warning(const VolumeInfo& info) {
  return fmt::format(
      "the primary was written to, or copied, since the volume was last closed, {}, blocks on the spare do not have "
      "what was written",
      info.primary_path);
}

Result<AssembledVolume> assemble(const std::string& map_path, const AssembleOptions& options) {
  store::OpenOptions of_map;
  of_map.read_only = options.read_only;
  of_map.degraded = options.degraded;
  // One that was about to serve may hold it, and wait for a device itself, while nobody keeps its mount any more.
  if (options.goes_on) of_map.lock_wait = options.lock_wait;
  auto opened = store::SqliteMapStore::open(map_path, of_map);
  if (!opened) return fail(opened.error());
  store::SqliteMapStore& store = **opened;
  // A copy: the store completes its own while it loads.
  const VolumeInfo info = store.info();

  AssembledVolume assembled;
  VolumeParts parts;
  const auto warn = [&](std::string warning) {
    if (!warning.empty()) assembled.warnings.push_back(std::move(warning));
  };

  for (std::size_t i = 0; i < info.spares.size() && !options.goes_on; ++i) {
    if (info.is_end_of_primary(info.spares[i])) continue;
    const std::string& path = info.spares[i].path;
    const auto refuse = [&](const Result<void>& checked) { return !checked && !is_absent(checked.error()); };
    if (auto apart = check_no_overlap(info.primary_path, path, options.views); refuse(apart))
      return fail(apart.error());
    for (std::size_t j = 0; j < i; ++j) {
      auto distinct = check_no_overlap(info.spares[j].path, path, options.views);
      if (refuse(distinct)) return fail(distinct.error());
    }
  }

  if (options.before_devices) options.before_devices(info);
  // Before it is opened: finding out what a file can do counts as writing, and only its owner can set the time back.
  const std::string stamp = file_stamp(info.primary_path);
  auto primary = open_primary(info, options);
  if (!primary) return fail(primary.error());
  if (auto same = check_primary(info, *primary->disk, options.views); !same) return fail(same.error());
  warn(warning_for(*primary->disk));
  const bool changed = !options.goes_on && was_changed(info, stamp);
  if (changed) warn(change_warning(info));
  parts.primary = std::move(primary->disk);

  for (const SpareInfo& spare : info.spares) {
    auto device = open_spare(spare, info, primary->whole, *parts.primary, options);
    if (!device && options.degraded && is_absent(device.error())) {
      assembled.degraded = true;
      warn(fmt::format("spare is missing, {}, its blocks cannot be read until it is back", spare.path));
      continue;
    }
    if (!device) return fail(device.error());
    if (auto attached = store.attach_spare(spare.id, **device); !attached) {
      return fail(about(attached.error(), "spare", spare.path));
    }
    if (!info.is_end_of_primary(spare)) warn(warning_for(**device));
    parts.spares.emplace(spare.id, std::move(*device));
  }

  parts.store = std::move(*opened);
  VolumeOptions how;
  how.read_only = options.read_only;
  how.on_loss = options.on_loss;
  how.on_event = options.on_event;
  how.memory = options.memory;
  limit_to_kernel(how, options.views);
  auto volume = Volume::open(std::move(parts), std::move(how));
  if (!volume) return fail(about(volume.error(), "volume", map_path));
  assembled.volume = std::move(*volume);
  if (changed && !options.read_only) {
    std::ignore =
        assembled.volume->record_event({"primary-changed", std::nullopt, "by somebody else, since the last close"});
  }
  return assembled;
}

void limit_to_kernel(VolumeOptions& options, const KernelViews& views) {
  for (const char* name : {"default_request_timeout", "max_request_timeout"}) {
    const std::string text = read_text_file(views.proc + "/sys/fs/fuse/" + name).value_or("");
    const auto age = parse_decimal(std::string_view(text).substr(0, text.find('\n')));
    if (!age || *age == 0) continue;
    const std::chrono::milliseconds third(*age * 1000 / 3);
    options.request_budget = std::min(options.request_budget, third);
    options.block_patience = std::min(options.block_patience, third);
  }
}

}  // namespace remapfs::cli
