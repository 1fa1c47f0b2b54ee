# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/manage.cpp)
set(bug_find [==[
after_sync(primary, primary.device().sync(), scratch.aside());]==])
set(bug_replace [==[
remapfs::sim::bug("removal_not_synced") ? Result<void>() : after_sync(primary, primary.device().sync(), scratch.aside());]==])
