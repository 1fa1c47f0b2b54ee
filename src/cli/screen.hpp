// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

namespace remapfs::cli {

// The whole terminal, drawn again and again without a flicker; when it ends, what was there before is there again, also
// after Ctrl-C (which ends the program with 0) and Ctrl-Z.
// Threads: one a process. Errors: none; a terminal that is gone ends the waiting.
class Screen {
 public:
  // out: the terminal, which is also what keys come from.
  explicit Screen(std::ostream& out);
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  struct Size {
    unsigned columns = 80;
    unsigned rows = 24;
  };
  [[nodiscard]] static Size size();
  // Lines may carry colours; what does not fit is cut off.
  void draw(const std::vector<std::string>& lines);

  enum class Wake : std::uint8_t { time, resized, quit };
  // Until the time has passed, or a key says that it is enough.
  Wake wait(std::chrono::milliseconds at_most);

 private:
  std::ostream& out_;
};

}  // namespace remapfs::cli
