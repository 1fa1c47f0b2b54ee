# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/flush.cpp)
set(bug_find [==[
      auto flushed = flush_member(member, telling);]==])
set(bug_replace [==[
      if (id != 0 && remapfs::sim::bug("flush_skips_spare")) continue;
      auto flushed = flush_member(member, telling);]==])
