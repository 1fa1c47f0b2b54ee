# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/flush.cpp)
set(bug_find [==[
Result<void> answer = flush_member(*share(0));]==])
set(bug_replace [==[
Result<void> answer = remapfs::sim::bug("flush_skips_primary") ? Result<void>() : flush_member(*share(0));]==])
