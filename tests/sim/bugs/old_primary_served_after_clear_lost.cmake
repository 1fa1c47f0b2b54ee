# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/manage.cpp)
set(bug_find [==[
: ruin_of(held) ? 0 : full;]==])
set(bug_replace [==[
: ruin_of(held) && !remapfs::sim::bug("old_primary_served_after_clear_lost") ? 0 : full;]==])
