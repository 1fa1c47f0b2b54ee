# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/slow_write.cpp)
set(bug_find [==[
may_be_ruined = !failed_here && !tried.edge_failed;]==])
set(bug_replace [==[
may_be_ruined = !failed_here && !tried.edge_failed && !remapfs::sim::bug("ruined_edges_ignored");]==])
