# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/staging.cpp)
set(bug_find [==[
      poison(batch);
]==])
set(bug_replace [==[
      if (!remapfs::sim::bug("unknown_commit_not_poisoned")) poison(batch);
]==])
