// SPDX-License-Identifier: Apache-2.0
#include "fuse/session.hpp"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <tuple>

#include "remapfs/units.hpp"

namespace remapfs::fuse {

namespace {

// What precedes the data of a WRITE. A request read to this many bytes before a page boundary has its data on the
// boundary, as O_DIRECT wants it.
constexpr std::size_t kWriteHeader = sizeof(fuse_in_header) + sizeof(fuse_write_in);
static_assert(kWriteHeader == 80);
// READ and its arguments end where the payload begins: its data may go there while libfuse still knows the request.
static_assert(sizeof(fuse_in_header) + sizeof(fuse_read_in) <= kWriteHeader);

// libfuse 3.14 reads FUSE_MAX_MAX_PAGES pages and FUSE_BUFFER_HEADER_SIZE more, whatever max_write is, until INIT.
constexpr std::size_t kHeaderRoom = 0x1000;
constexpr std::size_t kReadSize = kMaxRequestSize + kHeaderRoom;
constexpr std::size_t kHugePage = std::size_t{2} << 20U;

// Linux 6.9; older headers lack them: the code of FUSE_NOTIFY_RESEND and, of the second word of flags, FUSE_HAS_RESEND.
constexpr std::int32_t kNotifyResend = 7;
constexpr std::uint32_t kHasResend = 1U << (39 - 32);

std::size_t page_size() {
  static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

}  // namespace

bool promises_the_same(std::span<const std::byte> reply, std::span<const std::byte> other) {
  fuse_init_out one{};
  fuse_init_out two{};
  if (reply.size() != sizeof one || other.size() != sizeof two) return false;
  std::memcpy(&one, reply.data(), sizeof one);
  std::memcpy(&two, other.data(), sizeof two);
  // Minors say nothing that flags do not, from the one on that has a reply of this size; libfuse says its own (fs/fuse,
  // process_init_reply() and fuse_adjust_compat(), Linux 6.18).
  constexpr std::uint32_t kWholeReply = 23;
  const auto meaning = [](const fuse_init_out& said) {
    return std::tuple(said.major, said.minor >= kWholeReply, said.flags, said.flags2, said.max_write, said.max_pages,
                      said.map_alignment);
  };
  return meaning(one) == meaning(two);
}

bool can_resend(std::span<const std::byte> init_request) {
  fuse_in_header header{};
  fuse_init_in init{};
  if (init_request.size() < sizeof header + sizeof init) return false;  // a kernel without a second word of flags
  std::memcpy(&header, init_request.data(), sizeof header);
  std::memcpy(&init, init_request.data() + sizeof header, sizeof init);
  return header.opcode == FUSE_INIT && (init.flags & FUSE_INIT_EXT) != 0 && (init.flags2 & kHasResend) != 0;
}

std::size_t payload_offset() { return page_size(); }
std::size_t request_room() { return round_up(page_size() + kReadSize, page_size()); }

Result<PageBuffer> PageBuffer::allocate(std::size_t size) {
  const std::size_t alignment = size >= kHugePage ? kHugePage : page_size();
  // Without access at first: where all memory is locked, mapping fills it at once, and the wish for huge pages has to
  // come before.
  void* const mapping = ::mmap(nullptr, size + alignment, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return fail(Errc::no_memory, errno);
  auto* const start = static_cast<std::byte*>(mapping);
  const std::size_t head = (alignment - reinterpret_cast<std::uintptr_t>(mapping) % alignment) % alignment;
  if (head != 0) ::munmap(start, head);
  ::munmap(start + head + size, alignment - head);
  PageBuffer buffer(std::span(start + head, size));
  if (alignment == kHugePage) static_cast<void>(::madvise(start + head, size, MADV_HUGEPAGE));
  if (::mprotect(start + head, size, PROT_READ | PROT_WRITE) != 0) return fail(Errc::no_memory, errno);
  std::memset(start + head, 0, size);
  return buffer;
}

PageBuffer::PageBuffer(PageBuffer&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

PageBuffer::~PageBuffer() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

Session::Session(UniqueFd descriptor, void* the_service, const InitWishes& wishes)
    : descriptor_(std::move(descriptor)), wishes_(wishes) {
  service = the_service;
}

Result<std::unique_ptr<Session>> Session::create(UniqueFd descriptor, const fuse_lowlevel_ops& operations,
                                                 void* service, const InitWishes& wishes) {
  std::unique_ptr<Session> session(new Session(std::move(descriptor), service, wishes));

  fuse_lowlevel_ops table = operations;
  table.init = &Session::init_callback;
  // libfuse refuses INIT unless its own max_read option equals the one the mount was given.
  fuse_args args = FUSE_ARGS_INIT(0, nullptr);
  const std::string max_read = "-omax_read=" + std::to_string(wishes.max_read);
  const bool listed = fuse_opt_add_arg(&args, "remapfs") == 0 && fuse_opt_add_arg(&args, max_read.c_str()) == 0;
  auto* context = static_cast<RequestContext*>(session.get());
  if (listed) session->session_ = fuse_session_new(&args, &table, sizeof table, context);
  fuse_opt_free_args(&args);
  if (session->session_ == nullptr) return fail(Errc::no_memory, ENOMEM);

  // No splice callbacks: libfuse then neither offers nor uses splice, which hides errors.
  fuse_custom_io io{};
  io.read = &Session::read_callback;
  io.writev = &Session::write_callback;
  const int refused = fuse_session_custom_io(session->session_, &io, session->descriptor_.get());
  if (refused != 0) return fail(Errc::no_memory, -refused);
  static_cast<void>(session->descriptor_.release());
  return session;
}

Session::~Session() {
  if (session_ != nullptr) fuse_session_destroy(session_);
}

Result<InitExchange> Session::serve_init(std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  auto room = PageBuffer::allocate(request_room());
  if (!room) return fail(room.error());
  InitExchange said;
  // A kernel with a newer major version asks again after it was told ours.
  while (!initialised_) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd ready{fuse_session_fd(session_), POLLIN, 0};
    // However late it is: what is there already is taken.
    const int answered = ::poll(&ready, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (answered < 0 && errno == EINTR) continue;
    if (answered <= 0) return fail(Errc::timeout, "the kernel sent no FUSE_INIT; is the descriptor mounted?");
    switch (receive(room->bytes())) {
      case Received::again:
      case Received::nothing: continue;
      case Received::unmounted: return fail(Errc::device_gone, "unmounted before it was ready");
      case Received::failed: return fail(Errc::device_other, "cannot read from /dev/fuse", last_errno_);
      case Received::request: break;
    }
    const auto* bytes = static_cast<const std::byte*>(request_.mem);
    said.request.assign(bytes, bytes + request_.size);
    heard_ = &said.reply;
    process();
    heard_ = nullptr;
    if (fuse_session_exited(session_) != 0) {
      return fail(Errc::unsupported, "the kernel refuses what FUSE_INIT needs; Linux 5.15 or later is required");
    }
  }
  return said;
}

Result<void> Session::replay_init(const InitExchange& exchange) {
  const std::span<const std::byte> request = exchange.request;
  fuse_in_header header{};
  if (request.size() < sizeof header) return fail(Errc::invalid, "the saved FUSE_INIT is too short");
  std::memcpy(&header, request.data(), sizeof header);
  if (header.opcode != FUSE_INIT) return fail(Errc::invalid, "the saved request is not a FUSE_INIT");
  auto room = PageBuffer::allocate(request_room());
  if (!room) return fail(room.error());
  std::vector<std::byte> reply;
  replay_ = request;
  swallow_replies_ = true;
  heard_ = &reply;
  if (receive(room->bytes()) == Received::request) process();
  replay_ = {};
  swallow_replies_ = false;
  heard_ = nullptr;
  if (!initialised_) return fail(Errc::unsupported, "the saved FUSE_INIT does not lead to a working session");
  if (!promises_the_same(reply, exchange.reply)) {
    return fail(Errc::too_new,
                "the kernel was promised something else, this mount, use the remapfs and the libfuse that made it");
  }
  return {};
}

Result<void> Session::set_blocking(bool blocking) {
  const int flags = ::fcntl(descriptor(), F_GETFL);
  const int wanted = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
  if (flags < 0 || ::fcntl(descriptor(), F_SETFL, wanted) != 0) return fail(Errc::device_other, errno);
  return {};
}

Result<void> Session::ask_for_resend() {
  fuse_out_header note{};
  note.len = sizeof note;
  note.error = kNotifyResend;
  const ssize_t written = ::write(descriptor(), &note, sizeof note);
  if (written == static_cast<ssize_t>(sizeof note)) return {};
  if (errno == EINVAL) return fail(Errc::unsupported, errno);
  return fail(errno == ENODEV || errno == ENOTCONN ? Errc::device_gone : Errc::device_other, errno);
}

Session::Received Session::receive(std::span<std::byte> room) {
  request_.mem = room.data() + payload_offset() - kWriteHeader;
  payload = room.subspan(payload_offset(), kMaxRequestSize);
  // libfuse goes on itself after ENOENT (a request was interrupted before it could be read).
  const int length = fuse_session_receive_buf(session_, &request_);
  if (length > 0) return Received::request;
  if (length == 0) return Received::unmounted;
  // ENOMEM: the kernel could not copy one request and answered it itself.
  if (length == -EINTR || length == -ENOMEM) return Received::again;
  if (length == -EAGAIN) return Received::nothing;
  last_errno_ = -length;
  return Received::failed;
}

void Session::process() { fuse_session_process_buf(session_, &request_); }

ssize_t Session::read_callback(int fd, void* buffer, std::size_t size, void* userdata) {
  return from(userdata).read_request(fd, buffer, size);
}

ssize_t Session::read_request(int fd, void* buffer, std::size_t size) {
  if (!replay_.empty()) {
    if (replay_.size() > size) {
      errno = EINVAL;
      return -1;
    }
    std::memcpy(buffer, replay_.data(), replay_.size());
    return static_cast<ssize_t>(replay_.size());
  }
  while (true) {
    const ssize_t length = ::read(fd, buffer, std::min(size, kReadSize));
    if (length < static_cast<ssize_t>(sizeof(fuse_in_header))) return length;
    // INTERRUPT may come to another worker than the request it means, whose session would keep it for ever and answer
    // EAGAIN to it later. No operation here can be interrupted half-way, and no answer is required: drop it.
    fuse_in_header header;
    std::memcpy(&header, buffer, sizeof header);
    if (header.opcode != FUSE_INTERRUPT) return length;
  }
}

ssize_t Session::write_callback(int fd, iovec* parts, int count, void* userdata) {
  const Session& self = from(userdata);
  if (self.heard_ != nullptr) {
    self.heard_->clear();
    for (int i = 1; i < count; ++i) {
      const auto* const bytes = static_cast<const std::byte*>(parts[i].iov_base);
      self.heard_->insert(self.heard_->end(), bytes, bytes + parts[i].iov_len);
    }
  }
  if (self.swallow_replies_) {
    ssize_t length = 0;
    for (int i = 0; i < count; ++i) length += static_cast<ssize_t>(parts[i].iov_len);
    return length;
  }
  return ::writev(fd, parts, count);
}

void Session::init_callback(void* userdata, fuse_conn_info* connection) {
  Session& self = from(userdata);
  const InitWishes& wishes = self.wishes_;
  connection->max_write = std::min(connection->max_write, wishes.max_write);
  connection->max_read = wishes.max_read;
  connection->max_readahead = std::min(connection->max_readahead, wishes.max_readahead);
  connection->max_background = wishes.max_background;
  connection->congestion_threshold = wishes.congestion_threshold;
  // Exactly these. Above all not ATOMIC_O_TRUNC, which libfuse 3.14 sets by default: the kernel would then set its own
  // idea of the size to 0 on `> disk`. Nor WRITEBACK_CACHE: a cached write has been acknowledged and can still fail.
  connection->want = connection->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS |
                                            FUSE_CAP_EXPLICIT_INVAL_DATA);
  self.outcome_ = {connection->proto_major,
                   connection->proto_minor,
                   connection->max_write,
                   connection->max_read,
                   connection->max_readahead,
                   (connection->want & FUSE_CAP_ASYNC_READ) != 0,
                   (connection->want & FUSE_CAP_ASYNC_DIO) != 0,
                   (connection->want & FUSE_CAP_EXPLICIT_INVAL_DATA) != 0};
  self.initialised_ = true;
}

}  // namespace remapfs::fuse
