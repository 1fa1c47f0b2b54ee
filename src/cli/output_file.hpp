// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <ostream>
#include <streambuf>
#include <string>

#include "core/unique_fd.hpp"
#include "remapfs/error.hpp"

namespace remapfs::cli {

// Who may read a new file: its owner alone, or whom the umask allows.
enum class Readers : std::uint8_t { owner, everybody };

// A file that is there as a whole or not at all: written without a name, made durable, then put in the place of what
// was called so before.
//
// Errors: exists (the name is that of a directory, a link, a device: nothing to be replaced by a file), not_found and
//   permission (the folder), no_space, device_other. Nothing is changed then.
class OutputFile {
 public:
  // path: absolute, its folder without links. A new file is for its readers; one of this user's that is there already
  // keeps its group and who may read it.
  static Result<std::unique_ptr<OutputFile>> create(const std::string& path, Readers readers = Readers::owner);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // What is written to it goes into the file; errors are kept until commit().
  [[nodiscard]] std::ostream& stream() { return stream_; }
  // Makes the file durable and gives it its name.
  Result<void> commit();

 private:
  class Buffer final : public std::streambuf {
   public:
    explicit Buffer(int descriptor) : descriptor_(descriptor) { setp(bytes_.data(), bytes_.data() + bytes_.size()); }
    [[nodiscard]] int error() const { return error_; }

   protected:
    int_type overflow(int_type c) override;
    int sync() override;

   private:
    const int descriptor_;
    int error_ = 0;
    std::array<char, 65536> bytes_;
  };

  OutputFile(std::string path, UniqueFd file, std::string draft)
      : path_(std::move(path)),
        file_(std::move(file)),
        draft_(std::move(draft)),
        buffer_(file_.get()),
        stream_(&buffer_) {}

  std::string path_;
  UniqueFd file_;
  std::string draft_;  // name that it has meanwhile; empty: none
  Buffer buffer_;
  std::ostream stream_;
};

}  // namespace remapfs::cli
