// SPDX-License-Identifier: Apache-2.0
#include "core/epoch.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <limits>

#include "remapfs/error.hpp"

namespace remapfs {
namespace epoch_detail {

constinit std::atomic<std::uint64_t> current_epoch{1};
constinit std::atomic<bool> readers_fence{true};
thread_local constinit ReaderRecord* thread_record = nullptr;

namespace {

constexpr std::size_t kReadyRecords = 128;
constinit std::array<ReaderRecord, kReadyRecords> ready_records{};
// Records beyond the ready ones; pushed at the front, never removed.
constinit std::atomic<ReaderRecord*> more_records{nullptr};

// The tag of what can never be freed, since readers cannot be made visible any more.
constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

bool membarrier(int command) { return ::syscall(SYS_membarrier, command, 0, 0) == 0; }
bool register_for_barriers() { return membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED); }

// Once in the life of the process, by whoever comes first, reader or writer.
void settle_who_fences() {
  static const bool registered = register_for_barriers();
  if (registered) readers_fence.store(false, std::memory_order_release);
}

// Every thread of the process passes a full barrier. False if the kernel does not do it any more.
bool barrier_in_every_thread() {
  if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) return true;
  // A process that was forked may have lost the registration.
  return errno == EPERM && register_for_barriers() && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}

// Gives the thread's record back when the thread ends.
class RecordReturn {
 public:
  RecordReturn() = default;
  ~RecordReturn() {
    ReaderRecord* record = thread_record;
    thread_record = nullptr;
    if (record != nullptr) record->taken.store(false, std::memory_order_release);
  }
  RecordReturn(const RecordReturn&) = delete;
  RecordReturn& operator=(const RecordReturn&) = delete;
  void arm() {}
};
thread_local RecordReturn record_return;

template <class Visit>
void for_each_record(Visit&& visit) {
  for (ReaderRecord& record : ready_records) {
    if (!visit(record)) return;
  }
  for (ReaderRecord* record = more_records.load(std::memory_order_seq_cst); record != nullptr; record = record->next) {
    if (!visit(*record)) return;
  }
}

bool try_take(ReaderRecord& record) {
  bool expected = false;
  return !record.taken.load(std::memory_order_relaxed) &&
         record.taken.compare_exchange_strong(expected, true, std::memory_order_acquire, std::memory_order_relaxed);
}

}  // namespace

// A guard used by a destructor of thread-local storage that runs after ours takes a record that stays taken: memory,
// never safety, and bounded by the number of such threads.
ReaderRecord* take_record() noexcept {
  record_return.arm();
  settle_who_fences();
  ReaderRecord* found = nullptr;
  for_each_record([&](ReaderRecord& record) {
    if (!try_take(record)) return true;
    found = &record;
    return false;
  });
  if (found == nullptr) {
    found = new ReaderRecord;
    found->taken.store(true, std::memory_order_relaxed);
    found->next = more_records.load(std::memory_order_relaxed);
    // seq_cst: a scan that comes later in the single order must find the record that a reader announces itself in.
    while (!more_records.compare_exchange_weak(found->next, found, std::memory_order_seq_cst)) {
    }
  }
  return thread_record = found;
}

void nested_guard() noexcept { invariant_failed("a thread holds one EpochGuard at a time", __FILE__, __LINE__); }

}  // namespace epoch_detail

std::uint64_t advance_epoch() noexcept {
  using namespace epoch_detail;
  settle_who_fences();
  const bool visible = readers_fence.load(std::memory_order_acquire) || barrier_in_every_thread();
  const std::uint64_t ended = current_epoch.fetch_add(1, std::memory_order_seq_cst);
  return visible ? ended : kNever;
}

bool readers_left(std::uint64_t tag) noexcept {
  if (tag == epoch_detail::kNever) return false;
  bool left = true;
  epoch_detail::for_each_record([&](const epoch_detail::ReaderRecord& record) {
    const std::uint64_t announced = record.epoch.load(std::memory_order_seq_cst);
    left = announced == 0 || announced > tag;
    return left;
  });
  return left;
}

std::size_t epoch_record_count() noexcept {
  std::size_t count = 0;
  epoch_detail::for_each_record([&](const epoch_detail::ReaderRecord&) {
    ++count;
    return true;
  });
  return count;
}

}  // namespace remapfs
