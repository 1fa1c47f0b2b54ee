# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/staging.cpp)
set(bug_life 57)
set(bug_find [==[
      spare.slots->retire(*slot);
      batch.retired.push_back(where);]==])
set(bug_replace [==[
      if (remapfs::sim::bug("failed_slot_used_again")) return where;
      spare.slots->retire(*slot);
      batch.retired.push_back(where);]==])
