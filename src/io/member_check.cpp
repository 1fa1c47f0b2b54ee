// SPDX-License-Identifier: Apache-2.0
#include "io/member_check.hpp"

#include <blkid/blkid.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "core/unique_fd.hpp"
#include "io/errno_class.hpp"
#include "io/member_extents.hpp"

namespace remapfs {
namespace {

struct FreeProbe {
  void operator()(blkid_probe probe) const { blkid_free_probe(probe); }
};
using Probe = std::unique_ptr<std::remove_pointer_t<blkid_probe>, FreeProbe>;

std::string value_of(blkid_probe probe, const char* name) {
  const char* value = nullptr;
  if (blkid_probe_lookup_value(probe, name, &value, nullptr) != 0 || value == nullptr) return {};
  return value;
}

}  // namespace

Result<void> check_unused(const std::string& path, const KernelViews& views) {
  const auto extents = member_extents(path, views);
  if (!extents) return fail(extents.error());
  const std::vector<Claim> claims = kernel_claims(*extents, views);
  if (claims.empty()) return {};
  const Claim& first = claims.front();
  return fail(Errc::busy, "in use, " + path + ": " + first.text + ", " + first.advice, EBUSY);
}

Result<std::string> find_signature(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) {
    const int error = errno;
    return fail(classify_open_errno(error), "cannot open, " + path + ": " + std::strerror(error) + ", check the path",
                error);
  }
  struct stat status {};
  if (::fstat(fd.get(), &status) == 0 && S_ISREG(status.st_mode) && status.st_size == 0) return std::string();
  const Probe probe(blkid_new_probe());
  if (!probe || blkid_probe_set_device(probe.get(), fd.get(), 0, 0) != 0) {
    return fail(Errc::device_other, "cannot examine, " + path + ", give a file or a block device");
  }
  blkid_probe_enable_superblocks(probe.get(), 1);
  blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL);
  blkid_probe_enable_partitions(probe.get(), 1);
  // Whatever comes first is reason enough, so ambiguity does not matter.
  errno = 0;
  switch (blkid_do_probe(probe.get())) {
    case 1: return std::string();
    case 0: break;
    default: {
      const int error = errno != 0 ? errno : EIO;
      return fail(classify_errno(error), "cannot be read to look for a file system, " + path + ", use a sound device",
                  error);
    }
  }
  std::string found = value_of(probe.get(), "TYPE");
  std::string kind = "file system";
  if (found.empty()) {
    found = value_of(probe.get(), "PTTYPE");
    kind = "partition table";
  }
  if (const std::string label = value_of(probe.get(), "LABEL"); !label.empty()) found += " \"" + label + "\"";
  return kind + " (" + found + ")";
}

Result<void> check_no_signature(const std::string& path) {
  const auto found = find_signature(path);
  if (!found) return fail(found.error());
  if (found->empty()) return {};
  return fail(Errc::exists, "holds a " + *found + ", " + path + ", use --force to overwrite it");
}

Result<void> check_no_overlap(const std::string& path, const std::string& other, const KernelViews& views) {
  const auto one = member_extents(path, views);
  if (!one) return fail(one.error());
  const auto two = member_extents(other, views);
  if (!two) return fail(two.error());
  if (!overlap(*one, *two)) return {};
  return fail(Errc::invalid, "members share the same bytes, " + path + " and " + other + ", give different ones");
}

}  // namespace remapfs
