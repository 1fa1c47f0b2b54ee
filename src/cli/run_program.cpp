// SPDX-License-Identifier: Apache-2.0
#include "cli/run_program.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <sstream>
#include <utility>

#include "core/unique_fd.hpp"

namespace remapfs::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kDeathPatience = std::chrono::seconds(1);

Error cannot_run(const std::string& program, int error) {
  return {error == ENOMEM || error == EAGAIN ? Errc::no_memory : Errc::device_other, error,
          fmt::format("cannot run it, {} ({}), run it by hand", program, std::strerror(error))};
}

// Nobody but the administrator and this user can put something else there: PATH may be that of whoever became root.
bool is_trusted(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && (status.st_uid == 0 || status.st_uid == ::geteuid()) &&
         (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

std::optional<std::string> find_program(const std::string& name, const std::string& path) {
  std::istringstream folders(path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    // A relative folder, or an empty one, is whatever the working directory is.
    if (!folder.starts_with('/')) continue;
    std::string file = folder + "/" + name;
    struct stat status {};
    if (::stat(file.c_str(), &status) != 0 || !S_ISREG(status.st_mode) || ::access(file.c_str(), X_OK) != 0) continue;
    if (is_trusted(folder) && is_trusted(file)) return file;
  }
  return std::nullopt;
}

// A file with the text in it: a pipe could fill up.
UniqueFd file_of(const std::string& text) {
  UniqueFd file(::memfd_create("input", MFD_CLOEXEC));
  for (std::size_t done = 0; file && done < text.size();) {
    const ssize_t written = ::write(file.get(), text.data() + done, text.size() - done);
    if (written <= 0) return {};
    done += static_cast<std::size_t>(written);
  }
  if (file) ::lseek(file.get(), 0, SEEK_SET);
  return file;
}

class SpawnActions {
 public:
  SpawnActions() { ::posix_spawn_file_actions_init(&actions_); }
  ~SpawnActions() { ::posix_spawn_file_actions_destroy(&actions_); }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
  [[nodiscard]] posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

// A child of ours, which is not left behind as a zombie unless it cannot die.
class Child {
 public:
  explicit Child(pid_t process) : process_(process) {}
  ~Child() {
    if (process_ <= 0) return;
    ::kill(process_, SIGKILL);
    std::ignore = wait_until(Clock::now() + kDeathPatience);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // Its wait status, or nothing when it goes on.
  std::optional<int> wait_until(Clock::time_point end) {
    for (;;) {
      int status = 0;
      const pid_t ended = ::waitpid(process_, &status, WNOHANG);
      if (ended == process_ || (ended < 0 && errno == ECHILD)) {
        process_ = 0;
        return status;
      }
      if (Clock::now() >= end) return std::nullopt;
      ::poll(nullptr, 0, 5);
    }
  }

 private:
  pid_t process_;
};

// Until the other end is closed. Errors: timeout, invalid.
Result<std::string> read_all(int descriptor, const std::string& program, const ProgramLimits& limits,
                             Clock::time_point end) {
  std::string text;
  std::array<char, 65536> piece{};
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    if (left <= 0) return fail(Errc::timeout, fmt::format("takes too long, {}, run it by hand", program));
    pollfd ready{descriptor, POLLIN, 0};
    if (::poll(&ready, 1, static_cast<int>(left)) <= 0) continue;
    const ssize_t count = ::read(descriptor, piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(count));
    if (text.size() > limits.output)
      return fail(Errc::invalid, fmt::format("prints too much, {}, run it by hand", program));
  }
}

}  // namespace

std::vector<char*> argv_of(const std::vector<std::string>& words) {
  std::vector<char*> argv(words.size() + 1, nullptr);
  std::transform(words.begin(), words.end(), argv.begin(),
                 [](const std::string& word) { return const_cast<char*>(word.c_str()); });
  return argv;
}

Result<ProgramOutput> run_program(const std::vector<std::string>& arguments, const std::string& path,
                                  const std::string& input, ProgramLimits limits) {
  const std::string& name = arguments.at(0);
  const auto program = find_program(name, path);
  if (!program) return fail(Errc::not_found, fmt::format("not installed, {}, install it", name));
  const UniqueFd in = file_of(input);
  int ends[2];
  if (!in || ::pipe2(ends, O_CLOEXEC) != 0) return fail(cannot_run(name, errno));
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);

  SpawnActions actions;
  ::posix_spawn_file_actions_adddup2(actions.get(), in.get(), STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(actions.get(), writer.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_addopen(actions.get(), STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  const std::vector<char*> argv = argv_of(arguments);
  std::string locale = "LC_ALL=C";
  std::string tools = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
  std::array<char*, 3> environment{locale.data(), tools.data(), nullptr};
  pid_t process = 0;
  const int error = ::posix_spawn(&process, program->c_str(), actions.get(), nullptr, argv.data(), environment.data());
  if (error != 0) return fail(cannot_run(name, error));
  Child child(process);
  writer.reset();

  const auto end = Clock::now() + limits.time;
  auto text = read_all(reader.get(), name, limits, end);
  if (!text) return fail(text.error());
  const auto status = child.wait_until(end);
  if (!status) return fail(Errc::timeout, fmt::format("takes too long, {}, run it by hand", name));
  return ProgramOutput{WIFEXITED(*status) ? WEXITSTATUS(*status) : -1, std::move(*text)};
}

}  // namespace remapfs::cli
