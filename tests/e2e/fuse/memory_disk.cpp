// SPDX-License-Identifier: Apache-2.0
#include "memory_disk.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>

namespace remapfs::fuse::test {

namespace {

void* map_shared(std::size_t size, int file = -1) {
  const int flags = MAP_SHARED | MAP_NORESERVE | (file < 0 ? MAP_ANONYMOUS : 0);
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, file, 0);
  if (memory == MAP_FAILED) std::abort();
  return memory;
}

}  // namespace

SharedMemory::SharedMemory(std::uint64_t size)
    : state_(new (map_shared(sizeof(State))) State), file_(::memfd_create("disk", MFD_CLOEXEC)) {
  if (::ftruncate(file_.get(), static_cast<off_t>(size)) != 0) std::abort();
  bytes_ = {static_cast<std::byte*>(map_shared(size, file_.get())), size};
}

SharedMemory::~SharedMemory() {
  ::munmap(bytes_.data(), bytes_.size());
  ::munmap(state_, sizeof(State));
}

std::byte SharedMemory::pattern(std::uint64_t offset) {
  return static_cast<std::byte>((offset * 0x9E3779B97F4A7C15U) >> 56U);
}

void SharedMemory::fill_with_pattern() const {
  for (std::uint64_t i = 0; i < bytes_.size(); ++i) bytes_[i] = pattern(i);
}

bool SharedMemory::has_pattern(std::span<const std::byte> bytes, std::uint64_t offset) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != pattern(offset + i)) return false;
  }
  return true;
}

void SharedMemory::arm(Access access, std::uint64_t begin, std::uint64_t end, Errc code) const {
  for (Fault& fault : state_->faults) {
    if (fault.armed.load()) continue;
    fault.access = access;
    fault.begin = begin;
    fault.end = end;
    fault.code = code;
    fault.armed.store(true);
    return;
  }
  std::abort();
}

void SharedMemory::disarm_all() const {
  for (Fault& fault : state_->faults) fault.armed.store(false);
}

std::optional<Errc> MemoryDisk::armed(Access access, std::uint64_t begin, std::uint64_t end) const {
  for (const SharedMemory::Fault& fault : memory_.state().faults) {
    if (fault.armed.load() && fault.access == access && begin < fault.end && fault.begin < end) return fault.code;
  }
  return std::nullopt;
}

Result<void> MemoryDisk::check(Access access, std::uint64_t begin, std::uint64_t end) {
  memory_.state().calls[static_cast<std::size_t>(access)].fetch_add(1);
  if (const auto code = armed(access, begin, end)) return fail(*code);
  return {};
}

bool MemoryDisk::begin(DirectAccess& access, ByteRange range, const std::byte* /*memory*/, bool write) {
  const Access kind = write ? Access::write : Access::read;
  auto& state = memory_.state();
  if (write && state.hold_writes) return false;
  while (state.hold_begins) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const std::uint64_t begun = ++state.begun;
  std::uint64_t most = state.most_begun;
  while (most < begun && !state.most_begun.compare_exchange_weak(most, begun)) {
  }
  const bool fails = armed(kind, range.begin.value(), range.end.value()).has_value();
  if (!fails) state.calls[static_cast<std::size_t>(kind)].fetch_add(1);
  access.write = write;
  access.range = range;
  access.generation = generation();
  // In two parts where that can be: both have to arrive.
  const ByteOffset middle = std::min(range.end, range.begin + 4096);
  access.count = 0;
  for (const ByteRange part : {ByteRange{range.begin, middle}, ByteRange{middle, range.end}}) {
    if (part.empty()) continue;
    access.parts[access.count++] = {nullptr, 0, fails ? -1 : memory_.descriptor(), part.begin, part.begin, part,
                                    false,   {}};
  }
  return true;
}

bool MemoryDisk::end(DirectAccess& access) {
  --memory_.state().begun;
  return is_done(access);
}

bool MemoryDisk::is_done(DirectAccess& access) {
  return std::all_of(access.all().begin(), access.all().end(), [](const auto& part) { return part.done; });
}

Result<void> MemoryDisk::recover(DirectAccess& access, std::byte* memory) {
  const bool is_there = access.generation == generation();
  access.generation = generation();
  if (is_there && is_done(access)) return {};
  const std::size_t size = access.range.size().value();
  if (access.write) return write(access.range.begin, {memory, size});
  auto done = read(access.range.begin, {memory, size});
  if (!done) return fail(done.error());
  return {};
}

Result<std::size_t> MemoryDisk::read(ByteOffset offset, std::span<std::byte> buffer) {
  const std::uint64_t begin = offset.value();
  if (auto checked = check(Access::read, begin, begin + buffer.size()); !checked) return fail(checked.error());
  std::memcpy(buffer.data(), memory_.bytes().data() + begin, buffer.size());
  return buffer.size();
}

Result<void> MemoryDisk::write(ByteOffset offset, std::span<const std::byte> data) {
  auto& state = memory_.state();
  const std::uint64_t begin = offset.value();
  REMAPFS_INVARIANT(begin + data.size() <= memory_.bytes().size());
  state.writes_in_flight.fetch_add(1);
  while (state.hold_writes.load()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  auto result = check(Access::write, begin, begin + data.size());
  if (result) std::memcpy(memory_.bytes().data() + begin, data.data(), data.size());
  state.writes_in_flight.fetch_sub(1);
  return result;
}

Result<void> MemoryDisk::flush() {
  auto& state = memory_.state();
  if (state.lost_in_flush.exchange(false)) {
    std::memset(memory_.bytes().data(), 0xEE, memory_.bytes().size());
    ++state.generation;
  }
  auto done = check(Access::flush, 0, memory_.bytes().size());
  if (state.flush_to_fail > 0 && --state.flush_to_fail == 0) return fail(Errc::failed);
  return done;
}

Result<void> MemoryDisk::clear(Access access, ByteRange range) {
  auto result = check(access, range.begin.value(), range.end.value());
  if (result) std::memset(memory_.bytes().data() + range.begin.value(), 0, range.size().value());
  return result;
}

Result<ByteOffset> MemoryDisk::seek_data(ByteOffset from) {
  const std::uint64_t position = std::max(from.value(), memory_.state().data_begin.load());
  if (position >= memory_.state().data_end) return fail(Errc::not_found);
  return ByteOffset(position);
}

Result<ByteOffset> MemoryDisk::seek_hole(ByteOffset from) {
  const auto& state = memory_.state();
  if (from.value() < state.data_begin || from.value() >= state.data_end) return from;
  if (state.data_end >= memory_.bytes().size()) return fail(Errc::not_found);
  return ByteOffset(state.data_end.load());
}

}  // namespace remapfs::fuse::test
