# SPDX-License-Identifier: Apache-2.0
set(bug_file src/store/sqlite_map_store_load.cpp)
set(bug_find [==[
!spare.superblocks_agree || !record_.info.clean;]==])
set(bug_replace [==[
!spare.superblocks_agree || (!record_.info.clean && !remapfs::sim::bug("watermark_not_renewed"));]==])
