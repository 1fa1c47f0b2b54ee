// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target on files, and on those in folders, where there is no libFuzzer: the corpus as an ordinary test.
// With --mutate N it also runs N inputs made from them, the same each time.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "fuzz/fuzz_input.hpp"
#include "support/random.hpp"

namespace {

using Bytes = std::vector<std::uint8_t>;
using remapfs::testing::Random;

Bytes read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<Bytes> read_all(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return {read_file(path)};
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(path)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<Bytes> all;
  for (const auto& file : files) all.push_back(read_file(file));
  return all;
}

Bytes mutate(Bytes bytes, Random& random) {
  for (std::uint64_t left = random.between(1, 6); left > 0; --left) {
    const auto place = static_cast<std::ptrdiff_t>(random.below(bytes.size() + 1));
    switch (random.below(4)) {
      case 0: bytes.insert(bytes.begin() + place, static_cast<std::uint8_t>(random())); break;
      case 1:
        if (place < std::ssize(bytes)) bytes.erase(bytes.begin() + place);
        break;
      case 2:
        if (place < std::ssize(bytes)) bytes[static_cast<std::size_t>(place)] = static_cast<std::uint8_t>(random());
        break;
      default: {
        const Bytes piece(bytes.begin() + place, bytes.end());
        bytes.insert(bytes.end(), piece.begin(), piece.end());
      }
    }
  }
  if (bytes.size() > 4096) bytes.resize(4096);
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t mutations = 0;
  std::vector<Bytes> corpus{{}};
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--mutate") == 0 && i + 1 < argc) {
      mutations = std::strtoull(argv[++i], nullptr, 10);
      continue;
    }
    for (Bytes& bytes : read_all(argv[i])) corpus.push_back(std::move(bytes));
  }
  for (const Bytes& bytes : corpus) LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  Random random(1);
  for (std::uint64_t i = 0; i < mutations; ++i) {
    const Bytes bytes = mutate(corpus[random.below(corpus.size())], random);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::printf("%zu files, %llu mutations\n", corpus.size() - 1, static_cast<unsigned long long>(mutations));
  return corpus.size() > 1 ? 0 : 1;
}
