# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/member_device.cpp)
set(bug_find [==[
if (lost) return fail(Errc::failed);]==])
set(bug_replace [==[
if (lost && !remapfs::sim::bug("lost_writes_not_told")) return fail(Errc::failed);]==])
