// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "fault/specimen.hpp"

namespace remapfs::testing {

// Something that happens to a volume while nobody looks after it.
struct Corruption {
  std::string name;
  std::function<void(Remains&)> apply;
  // Of an earlier state of the whole spare, what the disk held then: the spare alone cannot tell that it is one.
  const Truth* earlier = nullptr;
  // An earlier state as well, but something is missing that would tell: only who accepts that is given the earlier
  // state.
  bool is_earlier_if_accepted = false;
  // Of what is kept twice one copy is damaged or old: mounts, and can be recovered, as if nothing were.
  bool is_one_copy = false;
};

// Every page of the map and its log, every structure of the spare in each of its copies, whole files swapped,
// truncated, zeroed, missing, and earlier copies put back. base: what they are to be applied to. foreign: another
// volume. What is in the slots is left alone: nothing vouches for data.
std::vector<Corruption> all_corruptions(const Specimen& specimen, const Remains& base, const Specimen& foreign);

}  // namespace remapfs::testing
