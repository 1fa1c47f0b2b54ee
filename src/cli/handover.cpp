// SPDX-License-Identifier: Apache-2.0
#include "cli/handover.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <utility>

#include "core/json.hpp"
#include "fuse/operations.hpp"
#include "remapfs/version.hpp"

namespace remapfs::cli {
namespace {

using json = nlohmann::ordered_json;

// Bytes of paths need not be UTF-8.
json bytes_of(std::span<const std::byte> bytes) {
  json::binary_t::container_type copy;
  for (const std::byte byte : bytes) copy.push_back(std::to_integer<std::uint8_t>(byte));
  return json::binary(std::move(copy));
}
json bytes_of(const std::string& text) { return bytes_of(std::as_bytes(std::span(text))); }
std::vector<std::byte> raw_bytes_of(const json& value) {
  std::vector<std::byte> bytes;
  for (const std::uint8_t byte : value.get_binary()) bytes.push_back(std::byte{byte});
  return bytes;
}
std::string string_of(const json& value) {
  const auto& bytes = value.get_binary();
  return {bytes.begin(), bytes.end()};
}

}  // namespace

void put_text(std::array<char, Handover::kTextRoom>& place, std::string_view text) {
  const std::size_t length = std::min(text.size(), place.size() - 1);
  std::memcpy(place.data(), text.data(), length);
  place[length] = '\0';
}

void put_error(Handover& handover, Errc code, int os_errno, std::string_view what) {
  handover.error_code = static_cast<std::int32_t>(code);
  handover.error_errno = os_errno;
  put_text(handover.message, what);
}
void put_error(Handover& handover, const Error& error) {
  put_error(handover, error.code, error.os_errno, describe(error));
}

Error error_in(const Handover& handover) {
  return {static_cast<Errc>(handover.error_code.load()), handover.error_errno, handover.message.data()};
}

Result<SharedHandover> SharedHandover::create() {
  UniqueFd file(::memfd_create("remapfs-handover", MFD_CLOEXEC));
  if (!file || ::ftruncate(file.get(), sizeof(Handover)) != 0) return fail(Errc::no_memory, errno);
  void* const memory = ::mmap(nullptr, sizeof(Handover), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) return fail(Errc::no_memory, errno);
  auto* const handover = new (memory) Handover;
  handover->size = sizeof(Handover);
  return SharedHandover(std::move(file), handover);
}

Result<SharedHandover> SharedHandover::open(UniqueFd file) {
  const auto refused = [](Errc code, const char* what) {
    return fail(code, fmt::format("{}, the volume's handover, use the remapfs that made the mount", what));
  };
  struct stat status {};
  if (::fstat(file.get(), &status) != 0 || status.st_size < static_cast<off_t>(offsetof(Handover, keeper))) {
    return refused(Errc::invalid, "not a handover");
  }
  void* const memory = ::mmap(nullptr, sizeof(Handover), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) return fail(Errc::no_memory, errno);
  // The first members are in every format.
  SharedHandover shared(std::move(file), static_cast<Handover*>(memory));
  if (shared->magic != Handover::kMagic) return refused(Errc::invalid, "not a handover");
  if (shared->format != Handover::kFormat || shared->size != sizeof(Handover) ||
      status.st_size != static_cast<off_t>(sizeof(Handover))) {
    return refused(Errc::too_new, "of another format");
  }
  return shared;
}

SharedHandover::SharedHandover(SharedHandover&& other) noexcept
    : file_(std::move(other.file_)), memory_(std::exchange(other.memory_, nullptr)) {}

SharedHandover::~SharedHandover() {
  if (memory_ != nullptr) ::munmap(memory_, sizeof(Handover));
}

Result<void> write_record(Handover& handover, const MountRecord& record) {
  const MountSettings& settings = record.spec.settings;
  json passed_on = json::array();
  for (const std::string& option : settings.passed_on) passed_on.push_back(bytes_of(option));
  const json document{
      {"program", kVersion},
      {"map", bytes_of(record.spec.map_path)},
      {"asked_mount_point", bytes_of(record.spec.mount_point)},
      {"mount_point", bytes_of(record.mount_point)},
      {"foreground", record.spec.foreground},
      {"remove_mount_point", record.spec.remove_mount_point},
      {"read_only", settings.read_only},
      {"degraded", settings.degraded},
      {"allow_other", settings.allow_other},
      {"wait_on_loss", settings.on_loss == OnLoss::wait},
      {"engine", static_cast<int>(settings.engine)},
      {"workers", settings.workers ? json(*settings.workers) : json(nullptr)},
      {"passed_on", std::move(passed_on)},
      {"root_is_file", record.root == fuse::RootKind::file},
      {"connection", record.connection ? json(*record.connection) : json(nullptr)},
      {"cloned", record.cloned},
      {"init_request", bytes_of(record.init.request)},
      {"init_reply", bytes_of(record.init.reply)},
      {"protocol", fuse::Operations::dialect()},
  };
  const std::vector<std::uint8_t> bytes = json::to_cbor(document);
  if (bytes.size() > handover.record.size()) return fail(Errc::no_space, "the mount's options are too long");
  std::memcpy(handover.record.data(), bytes.data(), bytes.size());
  handover.record_size.store(static_cast<std::uint32_t>(bytes.size()));
  return {};
}

Result<MountRecord> read_record(const Handover& handover) {
  const Error damaged{Errc::invalid, 0, "not understood, the volume's handover, use the remapfs that made the mount"};
  const std::uint32_t size = handover.record_size;
  if (size == 0 || size > handover.record.size()) return fail(damaged);
  try {
    const json document = json::from_cbor(handover.record.data(), handover.record.data() + size);
    if (!document.is_object()) return fail(damaged);
    // What the kernel was told at FUSE_INIT and at every open it goes on to believe.
    if (document.at("protocol") != fuse::Operations::dialect()) {
      return fail(Errc::too_new, "the kernel was promised something else, this mount, use the remapfs that made it");
    }
    MountRecord record;
    record.spec.map_path = string_of(document.at("map"));
    record.spec.mount_point = string_of(document.at("asked_mount_point"));
    record.mount_point = string_of(document.at("mount_point"));
    record.spec.foreground = document.at("foreground").get<bool>();
    record.spec.remove_mount_point = document.at("remove_mount_point").get<bool>();
    MountSettings& settings = record.spec.settings;
    settings.read_only = document.at("read_only").get<bool>();
    settings.degraded = document.at("degraded").get<bool>();
    settings.allow_other = document.at("allow_other").get<bool>();
    settings.on_loss = document.at("wait_on_loss").get<bool>() ? OnLoss::wait : OnLoss::fail;
    const int engine = document.at("engine").get<int>();
    if (engine < 0 || engine > static_cast<int>(MountSettings::Engine::blocking)) return fail(damaged);
    settings.engine = static_cast<MountSettings::Engine>(engine);
    if (const json& workers = document.at("workers"); !workers.is_null()) settings.workers = workers.get<unsigned>();
    if (!document.at("passed_on").is_array()) return fail(damaged);
    for (const json& option : document.at("passed_on")) settings.passed_on.push_back(string_of(option));
    record.root = document.at("root_is_file").get<bool>() ? fuse::RootKind::file : fuse::RootKind::directory;
    if (const json& number = document.at("connection"); !number.is_null()) record.connection = number.get<unsigned>();
    record.cloned = document.at("cloned").get<bool>();
    record.init.request = raw_bytes_of(document.at("init_request"));
    record.init.reply = raw_bytes_of(document.at("init_reply"));
    return record;
  } catch (const json::exception&) {  // no CBOR; a member that is not there, or of another kind
    return fail(damaged);
  }
}

}  // namespace remapfs::cli
