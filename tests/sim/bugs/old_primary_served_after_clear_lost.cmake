# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/manage.cpp)
set(bug_find [==[
: was_ruined(held) ? 0 : full;]==])
set(bug_replace [==[
: was_ruined(held) && !remapfs::sim::bug("old_primary_served_after_clear_lost") ? 0 : full;]==])
