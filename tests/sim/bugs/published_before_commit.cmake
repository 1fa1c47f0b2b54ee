# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/staging.cpp)
set(bug_find [==[
    transaction.retired_slots = batch.retired;
]==])
set(bug_replace [==[
    transaction.retired_slots = batch.retired;
    for (const Batch::Entry& entry : batch.entries) {
      if (!remapfs::sim::bug("published_before_commit")) break;
      // New entries take room that a commit which fails gives back.
      const bool put = entry.change.kind == MapChange::Kind::put;
      if (put && table->find(entry.change.block)) publish(entry.change.block, entry.change.row.mapping());
    }
]==])
