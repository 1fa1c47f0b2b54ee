// SPDX-License-Identifier: Apache-2.0
#include "exchange/line_reader.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace remapfs::exchange {
namespace {

constexpr std::size_t kChunk = std::size_t{64} << 10U;
constexpr std::size_t kShown = 40;
constexpr std::string_view kBlanks = " \t";

// Enough of a line to find it again, without what a terminal would obey.
std::string shown(std::string_view line) {
  std::string text(line.substr(0, kShown));
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return line.size() > kShown ? text + "..." : text;
}

}  // namespace

Result<std::optional<std::string_view>> LineReader::next() {
  std::size_t searched = begin_;
  for (;;) {
    const std::size_t newline = buffer_.find('\n', searched);
    const bool last = newline == std::string::npos && at_end_;
    if (newline != std::string::npos || last) {
      const std::size_t end = last ? buffer_.size() : newline;
      if (last && begin_ == end) {
        line_ = {};
        return std::nullopt;
      }
      ++number_;
      line_ = std::string_view(buffer_).substr(begin_, end - begin_);
      begin_ = last ? end : end + 1;
      if (line_.size() > kMaxLine) break;
      if (line_.ends_with('\r')) line_.remove_suffix(1);
      return line_;
    }
    if (buffer_.size() - begin_ > kMaxLine) {
      ++number_;
      line_ = std::string_view(buffer_).substr(begin_);
      break;
    }
    buffer_.erase(0, begin_);
    begin_ = 0;
    searched = buffer_.size();
    buffer_.resize(searched + kChunk);
    auto got = source_(std::span(buffer_).subspan(searched));
    if (!got) return fail(std::move(got.error()));
    buffer_.resize(searched + *got);
    at_end_ = *got == 0;
  }
  return refuse(fmt::format("a line of more than {} characters", kMaxLine), "is this the right file?");
}

tl::unexpected<Error> LineReader::refuse(std::string_view what, std::string_view advice) const {
  return fail(Errc::invalid, fmt::format("{}, {} line {} ({}), {}", what, name_, number_, shown(line_), advice));
}

std::string_view take_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  const std::string_view word = text.substr(0, text.find_first_of(kBlanks));
  text.remove_prefix(word.size());
  return word;
}

}  // namespace remapfs::exchange
