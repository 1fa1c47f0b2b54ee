// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "remapfs/error.hpp"
#include "store/surviving_tags.hpp"

namespace remapfs::store {

// What one spare of several says.
struct SpareSurvivors {
  std::string path;  // for messages
  SurvivingTags tags;
};

// What all spares of a volume say together.
struct JointSurvivors {
  std::vector<RemapRow> rows;  // one for each block, ascending
  // True: the rows are those of the last complete commit; of the changes of one that was cut off, and nobody was told
  // of, some may be there.
  bool proven = true;
  std::vector<std::string> doubts;  // one line each; when proven, of no consequence

  void doubt(std::string text) {
    proven = false;
    doubts.push_back(std::move(text));
  }
};

// spares: ordered by their numbers from then on. That one is missing, or is not of the volume any more, is a doubt.
// Errors: foreign (of different volumes), exists (one twice), corrupt (of different sizes).
Result<JointSurvivors> join_survivors(std::vector<SpareSurvivors>& spares);

}  // namespace remapfs::store
