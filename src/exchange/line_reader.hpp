// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "remapfs/error.hpp"

namespace remapfs::exchange {

// A text file of somebody else's, line by line, in little memory whatever is in it.
//
// Errors: invalid, for a line that is too long; what the source answers.
class LineReader {
 public:
  static constexpr std::size_t kMaxLine = 4096;
  // Fills a part of the buffer; 0 at the end.
  using Source = std::function<Result<std::size_t>(std::span<char>)>;

  // name: of the file, for messages.
  LineReader(Source source, std::string name) : source_(std::move(source)), name_(std::move(name)) {}

  // The next line without its end (LF or CR LF), valid until the next call; nothing at the end.
  Result<std::optional<std::string_view>> next();

  // Of the line given out last, from 1; the number of lines when there is none left.
  [[nodiscard]] std::uint64_t number() const { return number_; }
  // About that line: "WHAT, NAME line 17 (its text), ADVICE".
  [[nodiscard]] tl::unexpected<Error> refuse(std::string_view what, std::string_view advice) const;

 private:
  Source source_;
  std::string name_;
  std::string buffer_;
  std::size_t begin_ = 0;  // of what has not been given out
  bool at_end_ = false;
  std::uint64_t number_ = 0;
  std::string_view line_;
};

// Takes the next word, what stands between blanks and tabs; empty at the end.
[[nodiscard]] std::string_view take_word(std::string_view& text);

}  // namespace remapfs::exchange
