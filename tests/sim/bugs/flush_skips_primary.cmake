# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/flush.cpp)
set(bug_find [==[
Result<void> worst = flush_member(share(0), telling);]==])
set(bug_replace [==[
Result<void> worst = remapfs::sim::bug("flush_skips_primary") ? Result<void>() : flush_member(share(0), telling);]==])
