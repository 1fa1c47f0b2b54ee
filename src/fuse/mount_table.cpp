// SPDX-License-Identifier: Apache-2.0
#include "fuse/mount_table.hpp"

#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <vector>

namespace remapfs::fuse {

namespace {

constexpr const char* kMountInfo = "/proc/self/mountinfo";

bool is_octal(char c) { return c >= '0' && c <= '7'; }

// The kernel writes space, tab, newline, backslash and '#' as a backslash and three octal digits.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) && is_octal(text[i + 2]) &&
        is_octal(text[i + 3])) {
      out.push_back(static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0')));
      i += 3;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

std::vector<std::string_view> split(std::string_view line, char separator) {
  std::vector<std::string_view> fields;
  while (true) {
    const auto at = line.find(separator);
    fields.push_back(line.substr(0, at));
    if (at == std::string_view::npos) return fields;
    line.remove_prefix(at + 1);
  }
}

std::optional<unsigned> number(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::string> resolve(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(path.c_str(), nullptr), &std::free);
  if (!resolved) return std::nullopt;
  return std::string(resolved.get());
}

Errc kind_of(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR: return Errc::not_found;
    case EACCES:
    case EPERM: return Errc::permission;
    default: return Errc::invalid;
  }
}

// The lines of the table, in its order, that are wanted.
template <class Wanted>
Result<std::vector<MountEntry>> select_mounts(Wanted&& wanted) {
  std::ifstream table(kMountInfo);
  if (!table) return fail(Errc::not_found, std::string(kMountInfo) + ": cannot be read; is /proc mounted?", errno);
  std::vector<MountEntry> found;
  for (std::string line; std::getline(table, line);) {
    auto entry = parse_mount_line(line);
    if (entry && wanted(*entry)) found.push_back(std::move(*entry));
  }
  return found;
}

}  // namespace

std::optional<MountEntry> parse_mount_line(std::string_view line) {
  // ID parent major:minor root mount-point options [optional...] - type source super-options
  const auto fields = split(line, ' ');
  std::size_t dash = 6;
  while (dash < fields.size() && fields[dash] != "-") ++dash;
  if (dash + 2 >= fields.size()) return std::nullopt;
  const auto device = split(fields[2], ':');
  if (device.size() != 2) return std::nullopt;
  const auto device_major = number(device[0]);
  const auto device_minor = number(device[1]);
  if (!device_major || !device_minor) return std::nullopt;
  return MountEntry{*device_major,
                    *device_minor,
                    unescape(fields[4]),
                    unescape(fields[dash + 1]),
                    unescape(fields[dash + 2]),
                    std::string(dash + 3 < fields.size() ? fields[dash + 3] : "")};
}

Result<std::optional<MountEntry>> find_mount(const std::string& canonical_path) {
  auto found = select_mounts([&](const MountEntry& entry) { return entry.mount_point == canonical_path; });
  if (!found) return fail(std::move(found.error()));
  // Later lines cover earlier ones.
  return found->empty() ? std::nullopt : std::optional(std::move(found->back()));
}

Result<std::vector<MountEntry>> mounts_of_device(unsigned device_major, unsigned device_minor) {
  return select_mounts([&](const MountEntry& entry) {
    return entry.device_major == device_major && entry.device_minor == device_minor;
  });
}

Result<std::string> canonical_mount_point(const std::string& path) {
  if (path.empty()) return fail(Errc::invalid, "mount point: the name is empty");
  if (auto resolved = resolve(path)) return std::move(*resolved);
  const int error = errno;
  if (error == ENOENT || error == ENOTDIR) {
    return fail(kind_of(error), path + ": " + std::strerror(error) + "; create the mount point first", error);
  }
  std::string trimmed = path;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  const auto slash = trimmed.rfind('/');
  const auto folder = resolve(slash == std::string::npos ? "." : trimmed.substr(0, slash + 1));
  if (!folder) return fail(kind_of(error), path + ": " + std::strerror(error), error);
  const std::string name = slash == std::string::npos ? trimmed : trimmed.substr(slash + 1);
  return (*folder == "/" ? "" : *folder) + "/" + name;
}

}  // namespace remapfs::fuse
