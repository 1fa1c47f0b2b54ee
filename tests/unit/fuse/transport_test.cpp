// SPDX-License-Identifier: Apache-2.0
#include "fuse/transport.hpp"

#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <gtest/gtest.h>
#include <linux/fuse.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <thread>

#include "fuse/connection.hpp"
#include "fuse/session.hpp"

// The transport against a kernel played by the test: one end of a SOCK_SEQPACKET pair keeps message boundaries as
// /dev/fuse does.

namespace remapfs::fuse {
namespace {

struct FakeKernel {
  UniqueFd kernel;
  UniqueFd device;

  FakeKernel() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
    kernel.reset(ends[0]);
    device.reset(ends[1]);
    // A lost request must end the test, not hang it.
    const timeval patience{20, 0};
    ::setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    const int room = 4 << 20;
    for (const int end : ends) ::setsockopt(end, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
  }

  template <class Arguments>
  void send(std::uint32_t opcode, std::uint64_t unique, const Arguments& arguments,
            std::span<const std::byte> data = {}) const {
    fuse_in_header header{};
    header.len = static_cast<std::uint32_t>(sizeof header + sizeof arguments + data.size());
    header.opcode = opcode;
    header.unique = unique;
    header.nodeid = 2;
    std::vector<std::byte> message(header.len);
    std::memcpy(message.data(), &header, sizeof header);
    std::memcpy(message.data() + sizeof header, &arguments, sizeof arguments);
    if (!data.empty()) std::memcpy(message.data() + sizeof header + sizeof arguments, data.data(), data.size());
    ASSERT_EQ(::write(kernel.get(), message.data(), message.size()), static_cast<ssize_t>(message.size()));
  }

  void send_init(std::uint64_t flags = FUSE_ASYNC_READ | FUSE_ASYNC_DIO | FUSE_ATOMIC_O_TRUNC | FUSE_WRITEBACK_CACHE |
                                       FUSE_AUTO_INVAL_DATA | FUSE_EXPLICIT_INVAL_DATA | FUSE_MAX_PAGES |
                                       FUSE_SPLICE_READ | FUSE_SPLICE_WRITE) const {
    fuse_init_in arguments{};
    arguments.major = 7;
    arguments.minor = 38;
    arguments.max_readahead = 131072;
    arguments.flags = static_cast<std::uint32_t>(flags);
    send(FUSE_INIT, 2, arguments);
  }

  // The next reply, header first; empty when there is none.
  [[nodiscard]] std::vector<std::byte> receive(int flags = 0) const {
    std::vector<std::byte> message(2U << 20U);
    const ssize_t length = ::recv(kernel.get(), message.data(), message.size(), flags);
    message.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
    return message;
  }

  [[nodiscard]] TransportDescriptors descriptors(unsigned count) const {
    auto made = clone_descriptors(device, count);
    if (!made) std::abort();
    return std::move(*made);
  }
};

template <class T>
T read_as(const std::vector<std::byte>& message, std::size_t offset) {
  T value{};
  if (message.size() >= offset + sizeof value) std::memcpy(&value, message.data() + offset, sizeof value);
  return value;
}

struct Seen {
  std::uintptr_t data = 0;
  std::size_t size = 0;
  std::span<std::byte> payload;
  std::thread::id thread;
};

const fuse_lowlevel_ops& recording_operations() {
  static const fuse_lowlevel_ops kTable = [] {
    fuse_lowlevel_ops table{};
    table.write = [](fuse_req_t request, fuse_ino_t, const char* data, std::size_t size, off_t, fuse_file_info*) {
      auto& context = *static_cast<RequestContext*>(fuse_req_userdata(request));
      *static_cast<Seen*>(context.service) = {reinterpret_cast<std::uintptr_t>(data), size, context.payload,
                                              std::this_thread::get_id()};
      fuse_reply_write(request, size);
    };
    table.getattr = [](fuse_req_t request, fuse_ino_t, fuse_file_info*) { fuse_reply_err(request, ESTALE); };
    return table;
  }();
  return kTable;
}

TEST(CloneDescriptors, DescriptorThatIsNoMountIsDuplicated) {
  const FakeKernel fake;
  const TransportDescriptors made = fake.descriptors(3);
  EXPECT_FALSE(made.cloned);
  EXPECT_EQ(made.workers.size(), 3U);
}

TEST(CloneDescriptors, NoWorkersIsInvalid) {
  const FakeKernel fake;
  const auto made = clone_descriptors(fake.device, 0);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::invalid);
}

TEST(Transport, SilentKernelIsATimeoutAndNotAHang) {
  const FakeKernel fake;
  Seen seen;
  TransportOptions impatient;
  impatient.init_patience = std::chrono::milliseconds(50);
  const auto transport = Transport::start(fake.descriptors(2), recording_operations(), &seen, impatient);
  ASSERT_FALSE(transport);
  EXPECT_EQ(transport.error().code, Errc::timeout);
}

TEST(Transport, InitIsAnsweredOnceWhateverTheNumberOfWorkers) {
  const FakeKernel fake;
  fake.send_init();
  Seen seen;
  const auto transport = Transport::start(fake.descriptors(5), recording_operations(), &seen, {});
  ASSERT_TRUE(transport) << describe(transport.error());
  EXPECT_EQ(read_as<fuse_out_header>(fake.receive(), 0).unique, 2U);
  EXPECT_TRUE(fake.receive(MSG_DONTWAIT).empty());
  EXPECT_EQ((*transport)->info().workers, 5U);
}

TEST(Transport, InitAsksForWhatIsNeededAndNothingThatHidesErrors) {
  const FakeKernel fake;
  fake.send_init();
  Seen seen;
  const auto transport = Transport::start(fake.descriptors(1), recording_operations(), &seen, {});
  ASSERT_TRUE(transport) << describe(transport.error());
  const auto answer = read_as<fuse_init_out>(fake.receive(), sizeof(fuse_out_header));
  EXPECT_EQ(answer.max_write, 1U << 20U);
  EXPECT_EQ(answer.max_pages, 256U);
  EXPECT_EQ(answer.max_background, 256U);
  EXPECT_EQ(answer.congestion_threshold, 192U);
  EXPECT_EQ(answer.max_readahead, 131072U);
  EXPECT_TRUE(answer.flags & FUSE_ASYNC_READ);
  EXPECT_TRUE(answer.flags & FUSE_ASYNC_DIO);
  EXPECT_TRUE(answer.flags & FUSE_EXPLICIT_INVAL_DATA);
  EXPECT_FALSE(answer.flags & FUSE_ATOMIC_O_TRUNC);
  EXPECT_FALSE(answer.flags & FUSE_WRITEBACK_CACHE);
  EXPECT_FALSE(answer.flags & FUSE_AUTO_INVAL_DATA);
  EXPECT_FALSE(answer.flags & (FUSE_SPLICE_READ | FUSE_SPLICE_WRITE | FUSE_SPLICE_MOVE));
  EXPECT_TRUE((*transport)->info().init.async_direct_io);
}

TEST(Transport, DataOfAWriteIsPageAlignedAndInsideThePayload) {
  const FakeKernel fake;
  fake.send_init();
  Seen seen;
  const auto transport = Transport::start(fake.descriptors(1), recording_operations(), &seen, {});
  ASSERT_TRUE(transport) << describe(transport.error());
  static_cast<void>(fake.receive());
  const std::vector<std::byte> data(kMaxRequestSize, std::byte{7});
  fuse_write_in arguments{};
  arguments.size = static_cast<std::uint32_t>(data.size());
  fake.send(FUSE_WRITE, 4, arguments, data);
  EXPECT_EQ(read_as<fuse_write_out>(fake.receive(), sizeof(fuse_out_header)).size, data.size());
  (*transport)->stop();
  ASSERT_TRUE((*transport)->wait());
  EXPECT_EQ(seen.data % 4096, 0U);
  EXPECT_EQ(seen.data, reinterpret_cast<std::uintptr_t>(seen.payload.data()));
  EXPECT_EQ(seen.payload.size(), kMaxRequestSize);
  EXPECT_NE(seen.thread, std::this_thread::get_id());
}

TEST(Transport, InterruptsAreDroppedWithoutAnAnswer) {
  const FakeKernel fake;
  fake.send_init();
  Seen seen;
  const auto transport = Transport::start(fake.descriptors(1), recording_operations(), &seen, {});
  ASSERT_TRUE(transport) << describe(transport.error());
  static_cast<void>(fake.receive());
  fake.send(FUSE_INTERRUPT, 7, fuse_interrupt_in{6});
  fake.send(FUSE_GETATTR, 8, fuse_getattr_in{});
  fake.send(FUSE_GETATTR, 10, fuse_getattr_in{});
  // libfuse by itself would answer 7 with EAGAIN before it answers 8.
  EXPECT_EQ(read_as<fuse_out_header>(fake.receive(), 0).unique, 8U);
  EXPECT_EQ(read_as<fuse_out_header>(fake.receive(), 0).unique, 10U);
}

TEST(Transport, StopEndsWorkersThatWaitAndLeavesRequestsToTheNext) {
  const FakeKernel fake;
  fake.send_init();
  Seen seen;
  InitExchange init;
  {
    const auto first = Transport::start(fake.descriptors(8), recording_operations(), &seen, {});
    ASSERT_TRUE(first) << describe(first.error());
    static_cast<void>(fake.receive());
    init = (*first)->init_exchange();
    (*first)->stop();
    const auto end = (*first)->wait();
    ASSERT_TRUE(end);
    EXPECT_EQ(*end, EndReason::stopped);
  }
  fake.send(FUSE_GETATTR, 8, fuse_getattr_in{});
  EXPECT_TRUE(fake.receive(MSG_DONTWAIT).empty());

  TransportDescriptors handed_over = fake.descriptors(8);
  handed_over.init = init;
  const auto second = Transport::start(std::move(handed_over), recording_operations(), &seen, {});
  ASSERT_TRUE(second) << describe(second.error());
  const auto reply = read_as<fuse_out_header>(fake.receive(), 0);
  EXPECT_EQ(reply.unique, 8U);
  EXPECT_EQ(reply.error, -ESTALE);
}

TEST(Transport, RequestThatRacesWithStopIsAnsweredExactlyOnceByThisOneOrTheNext) {
  const FakeKernel fake;
  fake.send_init();
  Seen seen;
  InitExchange init;
  for (std::uint64_t unique = 4; unique < 600; unique += 2) {
    TransportDescriptors handed_over = fake.descriptors(2);
    handed_over.init = init;
    const auto transport = Transport::start(std::move(handed_over), recording_operations(), &seen, {});
    ASSERT_TRUE(transport) << describe(transport.error());
    if (init.empty()) static_cast<void>(fake.receive());
    init = (*transport)->init_exchange();
    if (unique > 4) {
      ASSERT_EQ(read_as<fuse_out_header>(fake.receive(), 0).unique, unique - 2);
    }
    fake.send(FUSE_GETATTR, unique, fuse_getattr_in{});
    (*transport)->stop();
  }
}

TEST(Transport, StoppingAgainAndAgainNeverMissesAWorker) {
  const FakeKernel fake;
  fake.send_init();
  Seen seen;
  InitExchange init;
  for (int round = 0; round < 50; ++round) {
    TransportDescriptors handed_over = fake.descriptors(4);
    handed_over.init = init;
    const auto transport = Transport::start(std::move(handed_over), recording_operations(), &seen, {});
    ASSERT_TRUE(transport) << describe(transport.error());
    init = (*transport)->init_exchange();
  }
}

TEST(Transport, NonBlockingDescriptorIsWaitedOn) {
  const FakeKernel fake;
  ::fcntl(fake.device.get(), F_SETFL, O_NONBLOCK);
  fake.send_init();
  Seen seen;
  const auto transport = Transport::start(fake.descriptors(2), recording_operations(), &seen, {});
  ASSERT_TRUE(transport) << describe(transport.error());
  static_cast<void>(fake.receive());
  fake.send(FUSE_GETATTR, 8, fuse_getattr_in{});
  EXPECT_EQ(read_as<fuse_out_header>(fake.receive(), 0).unique, 8U);
}

TEST(Transport, ReadErrorEndsAllWorkersAndIsReported) {
  FakeKernel fake;
  fake.send_init();
  Seen seen;
  const auto transport = Transport::start(fake.descriptors(3), recording_operations(), &seen, {});
  ASSERT_TRUE(transport) << describe(transport.error());
  static_cast<void>(fake.receive());
  fake.kernel.reset();  // end of file: libfuse calls that a short read
  const auto end = (*transport)->wait();
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, Errc::device_other);
  EXPECT_EQ(end.error().os_errno, EIO);
}

TEST(Transport, SavedRequestThatIsNoInitIsRefused) {
  const FakeKernel fake;
  TransportDescriptors descriptors = fake.descriptors(1);
  descriptors.init.request.assign(200, std::byte{1});
  Seen seen;
  const auto transport = Transport::start(std::move(descriptors), recording_operations(), &seen, {});
  ASSERT_FALSE(transport);
  EXPECT_EQ(transport.error().code, Errc::invalid);
}

TEST(CanResend, OnlyAKernelThatSaysSoInTheSecondWordOfItsFlags) {
  constexpr std::uint32_t kHasResend = 1U << 7U;  // flag 39 of Linux 6.9
  const auto init = [](std::uint32_t opcode, std::uint32_t flags, std::uint32_t flags2) {
    fuse_in_header header{};
    header.opcode = opcode;
    fuse_init_in arguments{};
    arguments.flags = flags;
    arguments.flags2 = flags2;
    std::vector<std::byte> request(sizeof header + sizeof arguments);
    std::memcpy(request.data(), &header, sizeof header);
    std::memcpy(request.data() + sizeof header, &arguments, sizeof arguments);
    return request;
  };
  EXPECT_TRUE(can_resend(init(FUSE_INIT, FUSE_INIT_EXT, kHasResend)));
  EXPECT_TRUE(can_resend(init(FUSE_INIT, ~0U, ~0U)));
  EXPECT_FALSE(can_resend(init(FUSE_INIT, FUSE_INIT_EXT, ~kHasResend)));
  EXPECT_FALSE(can_resend(init(FUSE_INIT, ~std::uint32_t{FUSE_INIT_EXT}, kHasResend))) << "the word means nothing then";
  EXPECT_FALSE(can_resend(init(FUSE_WRITE, FUSE_INIT_EXT, kHasResend)));
  // Kernels before 5.17 send a shorter one.
  auto shorter = init(FUSE_INIT, FUSE_INIT_EXT, kHasResend);
  shorter.resize(sizeof(fuse_in_header) + offsetof(fuse_init_in, flags2));
  EXPECT_FALSE(can_resend(shorter));
  EXPECT_FALSE(can_resend({}));
}

class SavedInit : public ::testing::Test {
 protected:
  SavedInit() {
    fake_.send_init();
    const auto first = Transport::start(fake_.descriptors(2), recording_operations(), &seen_, {});
    if (!first) std::abort();
    static_cast<void>(fake_.receive());
    init_ = (*first)->init_exchange();
  }
  // How it goes for a program that finds this reply to have been given before.
  [[nodiscard]] Result<std::unique_ptr<Transport>> go_on(const fuse_init_out& reply,
                                                         const TransportOptions& wishes = {}) {
    TransportDescriptors handed_over = fake_.descriptors(2);
    handed_over.init.request = init_.request;
    const auto* const bytes = reinterpret_cast<const std::byte*>(&reply);
    handed_over.init.reply.assign(bytes, bytes + sizeof reply);
    return Transport::start(std::move(handed_over), recording_operations(), &seen_, wishes);
  }
  [[nodiscard]] fuse_init_out reply() const { return read_as<fuse_init_out>(init_.reply, 0); }

  FakeKernel fake_;
  Seen seen_;
  InitExchange init_;
};

TEST_F(SavedInit, IsHonouredWhereThisProgramWouldHaveAnsweredTheSame) {
  EXPECT_EQ(init_.reply.size(), sizeof(fuse_init_out));
  EXPECT_EQ(reply().max_write, kMaxRequestSize);
  EXPECT_TRUE(go_on(reply()));
  // What the kernel alone keeps to.
  TransportOptions wishes;
  wishes.max_background = 7;
  EXPECT_TRUE(go_on(reply(), wishes));
  // Of a later libfuse.
  fuse_init_out later = reply();
  later.minor += 3;
  EXPECT_TRUE(go_on(later));
}

TEST_F(SavedInit, IsRefusedWhereTheKernelBelievesSomethingElse) {
  const auto expect_refused = [&](auto&& change) {
    fuse_init_out other = reply();
    change(other);
    const auto transport = go_on(other);
    ASSERT_FALSE(transport);
    EXPECT_EQ(transport.error().code, Errc::too_new);
  };
  expect_refused([](fuse_init_out& said) { said.max_write /= 2; });
  expect_refused([](fuse_init_out& said) { said.minor = 22; });
  expect_refused([](fuse_init_out& said) { said.flags |= FUSE_WRITEBACK_CACHE; });
  expect_refused([](fuse_init_out& said) { said.flags2 ^= 1U; });
  TransportOptions wishes;
  wishes.max_write = 128U << 10U;
  const auto transport = go_on(reply(), wishes);
  ASSERT_FALSE(transport);
  EXPECT_EQ(transport.error().code, Errc::too_new);
  // Requests that have come meanwhile are for whoever is able to.
  EXPECT_TRUE(fake_.receive(MSG_DONTWAIT).empty());
}

TEST(GrantedLimits, UnknownConnectionIsWorkedOutAndSaysSo) {
  const ConnectionLimits limits = granted_limits({5, 4, false}, 4000000000U);
  EXPECT_EQ(limits, (ConnectionLimits{5, 4, false}));
}

}  // namespace
}  // namespace remapfs::fuse
