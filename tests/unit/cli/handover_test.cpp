// SPDX-License-Identifier: Apache-2.0
#include "cli/handover.hpp"
#include "cli/process.hpp"
#include "core/json.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

// What one program leaves to the next: understood as it was meant, or refused.

namespace remapfs::cli {
namespace {

using json = nlohmann::ordered_json;

class HandoverRecord : public ::testing::Test {
 protected:
  HandoverRecord() : shared_(*SharedHandover::create()) {
    record_.spec.map_path = "/maps/\xff.map";  // not UTF-8
    record_.spec.mount_point = "/mnt/./a";
    record_.spec.foreground = true;
    record_.spec.settings.read_only = true;
    record_.spec.settings.on_loss = OnLoss::wait;
    record_.spec.settings.workers = 3;
    record_.spec.settings.passed_on = {"dev", "context=\"x\""};
    record_.root = fuse::RootKind::file;
    record_.mount_point = "/mnt/a";
    record_.connection = 77;
    record_.cloned = true;
    record_.init.request.assign(104, std::byte{0xA5});
    record_.init.reply.assign(64, std::byte{0x5A});
    if (!write_record(*shared_, record_)) std::abort();
  }
  // Writes it anew, with this change.
  template <class Change>
  void rewrite(Change&& change) {
    json document = json::from_cbor(shared_->record.data(), shared_->record.data() + shared_->record_size);
    change(document);
    const std::vector<std::uint8_t> bytes = json::to_cbor(document);
    std::memcpy(shared_->record.data(), bytes.data(), bytes.size());
    shared_->record_size = static_cast<std::uint32_t>(bytes.size());
  }
  [[nodiscard]] Result<SharedHandover> open_again() const {
    return SharedHandover::open(UniqueFd(::dup(shared_.descriptor())));
  }

  SharedHandover shared_;
  MountRecord record_;
};

TEST_F(HandoverRecord, IsReadAsItWasWritten) {
  const auto other = open_again();
  ASSERT_TRUE(other);
  const auto read = read_record(**other);
  ASSERT_TRUE(read) << describe(read.error());
  EXPECT_EQ(read->spec.map_path, record_.spec.map_path);
  EXPECT_EQ(read->spec.mount_point, record_.spec.mount_point);
  EXPECT_EQ(read->spec.foreground, true);
  EXPECT_EQ(read->spec.remove_mount_point, false);
  EXPECT_EQ(read->spec.settings.read_only, true);
  EXPECT_EQ(read->spec.settings.on_loss, OnLoss::wait);
  EXPECT_EQ(read->spec.settings.workers, 3U);
  EXPECT_EQ(read->spec.settings.passed_on, record_.spec.settings.passed_on);
  EXPECT_EQ(read->root, fuse::RootKind::file);
  EXPECT_EQ(read->mount_point, "/mnt/a");
  EXPECT_EQ(read->connection, 77U);
  EXPECT_EQ(read->cloned, true);
  EXPECT_EQ(read->init.request, record_.init.request);
  EXPECT_EQ(read->init.reply, record_.init.reply);
}

// Another meaning of file handles, open flags or replies than this program has: the kernel goes on to believe it.
TEST_F(HandoverRecord, OfAnotherDialectIsRefused) {
  rewrite([](json& document) { document["protocol"] = document["protocol"].get<std::string>() + "x"; });
  const auto read = read_record(*shared_);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Errc::too_new);
}

TEST_F(HandoverRecord, WithAMemberMissingOrOfAnotherKindIsRefused) {
  const json whole = json::from_cbor(shared_->record.data(), shared_->record.data() + shared_->record_size);
  for (const auto& [name, value] : whole.items()) {
    if (name == "program") continue;  // for people
    for (const bool missing : {true, false}) {
      rewrite([&](json& document) {
        document = whole;
        if (missing) {
          document.erase(name);
        } else {
          document[name] = json::object();
        }
      });
      EXPECT_FALSE(read_record(*shared_)) << name << (missing ? " is missing" : " is another kind");
    }
  }
  rewrite([&](json& document) { document = whole; });
  EXPECT_TRUE(read_record(*shared_));
  for (const std::uint32_t size : {0U, 1U, shared_->record_size - 1, std::uint32_t{Handover::kRecordRoom} + 1}) {
    shared_->record_size = size;
    EXPECT_FALSE(read_record(*shared_)) << size;
  }
}

TEST_F(HandoverRecord, OfAnotherFormatIsRefused) {
  shared_->format = Handover::kFormat + 1;
  EXPECT_EQ(open_again().error().code, Errc::too_new);
  shared_->format = Handover::kFormat;
  shared_->size += 8;
  EXPECT_EQ(open_again().error().code, Errc::too_new);
  shared_->size -= 8;
  EXPECT_TRUE(open_again());
  shared_->magic ^= 1U;
  EXPECT_EQ(open_again().error().code, Errc::invalid);
}

TEST(Handover, WhatIsNoneIsRefused) {
  EXPECT_EQ(SharedHandover::open(UniqueFd(::memfd_create("empty", MFD_CLOEXEC))).error().code, Errc::invalid);
}

TEST(Handover, ProcessesOfOneNumberAreToldApartByTheirStart) {
  const std::uint64_t mine = start_of_process(::getpid());
  EXPECT_GT(mine, 0U);
  ::prctl(PR_SET_NAME, "a) R 1 (b");
  EXPECT_EQ(start_of_process(::getpid()), mine);
  ::usleep(50'000);  // some ticks
  const pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  EXPECT_GT(start_of_process(child), mine);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(start_of_process(child), 0U);
}

}  // namespace
}  // namespace remapfs::cli
