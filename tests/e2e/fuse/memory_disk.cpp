// SPDX-License-Identifier: Apache-2.0
#include "memory_disk.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>

namespace remapfs::fuse::test {

namespace {

void* map_shared(std::size_t size) {
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  return memory;
}

}  // namespace

SharedMemory::SharedMemory(std::uint64_t size)
    : state_(new (map_shared(sizeof(State))) State), bytes_(static_cast<std::byte*>(map_shared(size)), size) {}

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

Result<void> MemoryDisk::check(Access access, std::uint64_t begin, std::uint64_t end) {
  memory_.state().calls[static_cast<std::size_t>(access)].fetch_add(1);
  for (const SharedMemory::Fault& fault : memory_.state().faults) {
    if (fault.armed.load() && fault.access == access && begin < fault.end && fault.begin < end) {
      return fail(fault.code);
    }
  }
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

Result<void> MemoryDisk::flush() { return check(Access::flush, 0, memory_.bytes().size()); }

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
