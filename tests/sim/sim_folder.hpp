// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "sim/failing_memory.hpp"
#include "sim/sim_files.hpp"
#include "sim/world.hpp"
#include "support/temp_dir.hpp"

namespace remapfs::sim {

// A folder on a disk that loses power, for a program that is linked with failing_calls.cpp: what has happened to names
// since the folder was synced may be undone, the last of it first. What the files hold is the concern of SimFiles.
//
// One exists at a time. Threads: one.
class SimFolder {
 public:
  SimFolder(World& world, SimFiles& files, const std::string& path);
  ~SimFolder() { current_ = nullptr; }
  SimFolder(const SimFolder&) = delete;
  SimFolder& operator=(const SimFolder&) = delete;

  // Power was lost, and SimFiles have been told before.
  void lose_power();

  // The folder whose name this is; null: it is not simulated, or it is the simulated machine itself that asks.
  static SimFolder* of(const char* name);
  // The same for an open file, or the folder itself.
  static SimFolder* of(int file);

  // Carried out if the World lets it; then it is remembered how to undo it.
  template <class CarryOut>
  int rename(const std::string& from, const std::string& to, CarryOut&& carry_out) {
    return change(std::forward<CarryOut>(carry_out), [&] { renamed(from, to); });
  }
  template <class CarryOut>
  int make(const std::string& name, CarryOut&& carry_out) {
    return change(std::forward<CarryOut>(carry_out), [&] { made(name); });
  }
  template <class CarryOut>
  int remove(const std::string& name, CarryOut&& carry_out) {
    const std::string kept = keep(name);
    return change(std::forward<CarryOut>(carry_out), [&] { removed(name, kept); });
  }
  // Of the folder, or of a file's contents.
  template <class CarryOut>
  int sync(int file, CarryOut&& carry_out) {
    return change(std::forward<CarryOut>(carry_out), [&] { synced(file); });
  }

 private:
  template <class CarryOut, class Note>
  int change(CarryOut&& carry_out, Note&& note) {
    const World::Fate fate = world_.step(true);
    int result = -1;
    if (fate != World::Fate::nothing) {
      result = carry_out();
      const int error = errno;
      if (result >= 0) note();
      errno = error;
    }
    if (fate == World::Fate::happens) return result;
    errno = EIO;
    return -1;
  }
  // Another name of the file, outside of the folder; empty: there is no such file.
  std::string keep(const std::string& name);
  void renamed(const std::string& from, const std::string& to);
  void made(const std::string& name);
  void removed(const std::string& name, const std::string& kept);
  void synced(int file);

  static inline SimFolder* current_ = nullptr;

  World& world_;
  SimFiles& files_;
  const std::string path_;
  const testing::TempDir kept_{"/dev/shm"};
  std::uint64_t kept_count_ = 0;
  std::vector<std::function<void()>> undo_;  // oldest first
};

}  // namespace remapfs::sim
