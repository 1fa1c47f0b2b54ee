# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/probes.cpp)
set(bug_life 44)
set(bug_find [==[
  if (error.code == Errc::device_gone) {
    open_breaker(member, error);
    return fail(Errc::suspended);
  }
  if (!is_media_error(error)) return fail(error);]==])
set(bug_replace [==[
  if (remapfs::sim::bug("missing_device_taken_for_bad_sector")) return {};
  if (error.code == Errc::device_gone) {
    open_breaker(member, error);
    return fail(Errc::suspended);
  }
  if (!is_media_error(error)) return fail(error);]==])
