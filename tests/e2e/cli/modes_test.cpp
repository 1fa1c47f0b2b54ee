// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>

#include <filesystem>
#include <set>

#include "e2e/cli/workspace.hpp"

// Whatever the umask allows: what remapfs makes holds what is on the disk, or tells of it, and is for its owner.

namespace remapfs::e2e {
namespace {

namespace fs = std::filesystem;

class CliModes : public Workspace {
 protected:
  CliModes() : before_(::umask(0)) {}
  ~CliModes() override { ::umask(before_); }

  void expect_done(const std::vector<std::string>& arguments) {
    const Ran ran = remapfs(arguments);
    ASSERT_EQ(ran.exit_code, 0) << arguments[0] << ": " << ran.err;
  }
  // Files and sockets there that others may read or write. seen: how many there are.
  static std::set<std::string> open_to_others(const std::string& folder, std::size_t& seen) {
    std::set<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (!entry.is_regular_file() && !entry.is_socket()) continue;
      ++seen;
      struct stat status {};
      if (::stat(entry.path().c_str(), &status) == 0 && (status.st_mode & 077U) != 0) found.insert(entry.path());
    }
    return found;
  }

 private:
  const mode_t before_;
};

TEST_F(CliModes, NothingThatIsMadeCanBeReadByOthers) {
  create();
  expect_done({"add", map_, "1-3"});
  expect_done({"backup", map_, dir_ / "backup.map"});
  expect_done({"export", map_, "--format", "csv", dir_ / "blocks.csv"});
  expect_done({"report", map_, "-o", dir_ / "report.html"});
  mount();
  expect_done({"spare", map_, "add", dir_ / "more", "--size", "2M"});
  std::size_t seen = 0;
  EXPECT_EQ(open_to_others(dir_.path(), seen), std::set<std::string>{});
  EXPECT_GE(seen, 9U) << "map, log, its index, primary, two spares, backup, list, report";
  const std::string uuid = status(map_)["volume"]["uuid"];
  std::size_t runtime_files = 0;
  for (const std::string& open : open_to_others("/run/remapfs", runtime_files)) {
    EXPECT_EQ(open.find(uuid), std::string::npos) << open;
  }
  EXPECT_GE(runtime_files, 1U);
  unmount();
  // What repair keeps, and what recover makes.
  write_bytes(map_, 4096 * 3 + 200, "junk");
  static_cast<void>(remapfs({"repair", map_}));
  fs::rename(map_, dir_ / "lost.map");
  static_cast<void>(
      remapfs({"recover", map_, "--primary", primary_, "--spare", spare_, "--spare", dir_ / "more", "--accept-stale"}));
  EXPECT_TRUE(fs::exists(map_));
  EXPECT_EQ(open_to_others(dir_.path(), seen), std::set<std::string>{});
}

// node_exporter runs as a user of its own.
TEST_F(CliModes, FiguresForNodeExporterAreForEverybody) {
  create();
  expect_done({"metrics", map_, "-o", dir_ / "remapfs.prom"});
  std::size_t seen = 0;
  EXPECT_EQ(open_to_others(dir_.path(), seen), std::set<std::string>{dir_ / "remapfs.prom"});
}

}  // namespace
}  // namespace remapfs::e2e
