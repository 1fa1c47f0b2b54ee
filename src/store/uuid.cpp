// SPDX-License-Identifier: Apache-2.0
#include "store/uuid.hpp"

#include <sys/random.h>

#include <cerrno>

namespace remapfs::store {
namespace {

bool dash_before(std::size_t byte) { return byte == 4 || byte == 6 || byte == 8 || byte == 10; }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

Result<Uuid> Uuid::generate() {
  Uuid uuid;
  // Up to 256 bytes are given at once or not at all.
  while (::getrandom(uuid.bytes.data(), uuid.bytes.size(), 0) != static_cast<ssize_t>(uuid.bytes.size())) {
    if (errno != EINTR) return fail(Errc::device_other, errno);
  }
  uuid.bytes[6] = (uuid.bytes[6] & std::byte{0x0F}) | std::byte{0x40};
  uuid.bytes[8] = (uuid.bytes[8] & std::byte{0x3F}) | std::byte{0x80};
  return uuid;
}

std::optional<Uuid> Uuid::parse(std::string_view text) {
  if (text.size() != 36) return std::nullopt;
  Uuid uuid;
  std::size_t at = 0;
  for (std::size_t i = 0; i < uuid.bytes.size(); ++i) {
    if (dash_before(i) && text[at++] != '-') return std::nullopt;
    const int high = hex_digit(text[at]);
    const int low = hex_digit(text[at + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    uuid.bytes[i] = static_cast<std::byte>(high * 16 + low);
    at += 2;
  }
  return uuid;
}

std::string Uuid::to_string() const {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(36);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (dash_before(i)) text += '-';
    text += kDigits[std::to_integer<unsigned>(bytes[i]) >> 4U];
    text += kDigits[std::to_integer<unsigned>(bytes[i]) & 15U];
  }
  return text;
}

}  // namespace remapfs::store
