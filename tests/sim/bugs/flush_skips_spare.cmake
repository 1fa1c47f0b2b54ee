# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/flush.cpp)
set(bug_find [==[
auto flushed = flush_member(spare, telling);]==])
set(bug_replace [==[
auto flushed = remapfs::sim::bug("flush_skips_spare") ? Result<void>() : flush_member(spare, telling);]==])
