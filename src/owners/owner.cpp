// SPDX-License-Identifier: Apache-2.0
#include "owners/owner.hpp"

#include <algorithm>
#include <utility>

#include "remapfs/error.hpp"

namespace remapfs::owners {

std::string_view to_string(Content content) {
  switch (content) {
    case Content::file: return "file";
    case Content::directory: return "directory";
    case Content::link: return "link";
    case Content::attributes: return "attributes";
    case Content::metadata: return "metadata";
    case Content::journal: return "journal";
    case Content::free: return "free";
    case Content::outside: return "outside";
    case Content::unknown: return "unknown";
  }
  invariant_failed("Content has a name", __FILE__, __LINE__);
}

std::vector<Owner> merged(std::vector<Owner> owners) {
  std::sort(owners.begin(), owners.end(), [](const Owner& a, const Owner& b) { return a.first < b.first; });
  std::vector<Owner> few;
  for (Owner& next : owners) {
    const auto goes_on = [&](const Owner& last) {
      if (last.first + last.count != next.first || last.content != next.content || last.inode != next.inode ||
          last.partition != next.partition || last.file_system != next.file_system || last.path != next.path ||
          last.what != next.what || last.offset.has_value() != next.offset.has_value()) {
        return false;
      }
      return !last.offset || *last.offset + last.count * kSectorSize == *next.offset;
    };
    if (!few.empty() && goes_on(few.back())) {
      few.back().count += next.count;
    } else {
      few.push_back(std::move(next));
    }
  }
  return few;
}

}  // namespace remapfs::owners
