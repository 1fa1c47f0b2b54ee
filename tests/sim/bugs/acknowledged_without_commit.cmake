# SPDX-License-Identifier: Apache-2.0
set(bug_file src/volume/staging.cpp)
set(bug_find [==[
const auto committed = commits.commit(std::move(transaction));]==])
set(bug_replace [==[
const auto committed =
        remapfs::sim::bug("acknowledged_without_commit") && !batch.entries.empty()
            ? tl::expected<CommitReport, CommitFailure>(CommitReport{})
            : commits.commit(std::move(transaction));]==])
