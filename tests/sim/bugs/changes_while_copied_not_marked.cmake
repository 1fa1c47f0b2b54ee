# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/replace.cpp)
set(bug_find [==[
  old_->device().mark_changes_in(&dirty_);
  volume_.copied_from]==])
set(bug_replace [==[
  if (!remapfs::sim::bug("changes_while_copied_not_marked")) old_->device().mark_changes_in(&dirty_);
  volume_.copied_from]==])
