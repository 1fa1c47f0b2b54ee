# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/staging.cpp)
set(bug_life 190)
set(bug_find [==[
    transaction.events = batch.events;
]==])
set(bug_replace [==[
    transaction.events = batch.events;
    for (Batch::Entry& entry : batch.entries) {
      auto& vacated = entry.change.vacated;
      if (!remapfs::sim::bug("slot_reused_early") || !vacated || contains(batch.retired, *vacated)) continue;
      member(vacated->spare)->slots->release(vacated->slot);
      vacated.reset();
    }
]==])
