# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/manage.cpp)
set(bug_find [==[
held.has_slot() ? written_mask(held)]==])
set(bug_replace [==[
held.has_slot() ? (remapfs::sim::bug("unwritten_slot_sector_served") ? full : written_mask(held))]==])
