// SPDX-License-Identifier: Apache-2.0
#include "sim/sim_folder.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

namespace remapfs::sim {

namespace fs = std::filesystem;

namespace {

std::string name_of(int file) {
  std::error_code none;
  return fs::read_symlink(fmt::format("/proc/self/fd/{}", file), none).string();
}

}  // namespace

SimFolder::SimFolder(World& world, SimFiles& files, const std::string& path)
    : world_(world), files_(files), path_(fs::canonical(path).string()) {
  current_ = this;
}

SimFolder* SimFolder::of(const char* name) {
  if (current_ == nullptr || MachinesMemory::is_taken()) return nullptr;
  return fs::path(name).parent_path() == current_->path_ ? current_ : nullptr;
}

SimFolder* SimFolder::of(int file) {
  if (current_ == nullptr || MachinesMemory::is_taken()) return nullptr;
  const std::string name = name_of(file);
  return name == current_->path_ ? current_ : of(name.c_str());
}

void SimFolder::lose_power() {
  current_ = nullptr;
  const std::uint64_t stays = world_.random().below(undo_.size() + 1);
  while (undo_.size() > stays) {
    undo_.back()();
    undo_.pop_back();
  }
  undo_.clear();
}

std::string SimFolder::keep(const std::string& name) {
  std::error_code none;
  if (!fs::exists(name, none)) return {};
  std::string kept = kept_ / std::to_string(kept_count_++);
  fs::create_hard_link(name, kept);
  return kept;
}

void SimFolder::renamed(const std::string& from, const std::string& to) {
  files_.renamed(from, to);
  undo_.emplace_back([from, to] { fs::rename(to, from); });
}

void SimFolder::made(const std::string& name) {
  undo_.emplace_back([name] { fs::remove(name); });
}

void SimFolder::removed(const std::string& name, const std::string& kept) {
  undo_.emplace_back([name, kept] { fs::rename(kept, name); });
}

void SimFolder::synced(int file) {
  const std::string name = name_of(file);
  if (name == path_) {
    undo_.clear();
  } else {
    files_.file(name).synced();
  }
}

}  // namespace remapfs::sim
