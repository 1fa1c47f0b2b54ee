// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <map>
#include <set>

#include "fault/corruptions.hpp"
#include "fault/specimen.hpp"
#include "store/check.hpp"
#include "store/recover.hpp"
#include "store/repair.hpp"

// Whatever happens to a map or a spare: it is refused with nothing written, or repaired, or every byte that is read is
// the one that was written last. Everything below is done to each named corruption, from fresh remains each time.

namespace remapfs::testing {
namespace {

struct Base {
  const char* name;
  const Remains Specimen::*remains;
  const Truth Specimen::*truth;
  const std::vector<std::byte> Specimen::*primary;
};

constexpr std::uint64_t kSeed = 1;

class Corruptions : public ::testing::TestWithParam<Base> {
 protected:
  static const Specimen& specimen() {
    static const Specimen made = Specimen::make(kSeed);
    return made;
  }
  static const Specimen& foreign() {
    static const Specimen made = Specimen::make(1000);
    return made;
  }
  [[nodiscard]] const Truth& truth() const { return specimen().*GetParam().truth; }
  [[nodiscard]] const std::vector<std::byte>& primary() const { return specimen().*GetParam().primary; }

  // The first sector that answers with something else than the truth; empty when there is none. A lost sector may be
  // readable again where the map is a new one. stale: what the primary has is accepted too, and errors are.
  enum class Expect : std::uint8_t { all, all_but_marks, stale };
  [[nodiscard]] std::string wrong(Volume& volume, Expect expect) const { return wrong(volume, expect, truth()); }
  [[nodiscard]] std::string wrong(Volume& volume, Expect expect, const Truth& truth) const {
    const bool stale = expect == Expect::stale;
    for (std::uint64_t block = 0; block < Specimen::kBlocks; ++block) {
      std::array<std::byte, Specimen::kBlock> bytes;
      const std::uint64_t begin = block * Specimen::kBlock;
      const auto whole = volume.read(ByteOffset(begin), bytes);
      const bool none_lost = std::find(truth.lost.begin() + static_cast<std::ptrdiff_t>(block * 8),
                                       truth.lost.begin() + static_cast<std::ptrdiff_t>(block * 8 + 8),
                                       true) == truth.lost.begin() + static_cast<std::ptrdiff_t>(block * 8 + 8);
      const bool may_be_read = none_lost || expect != Expect::all;
      if (whole && may_be_read && std::memcmp(bytes.data(), truth.bytes.data() + begin, bytes.size()) == 0) continue;
      for (std::uint64_t at = begin; at < begin + Specimen::kBlock; at += kSectorSize) {
        const std::span<std::byte> sector = std::span(bytes).first(kSectorSize);
        const auto read = volume.read(ByteOffset(at), sector);
        if (!read && (stale || truth.lost[at / kSectorSize])) continue;
        if (!read) return fmt::format("sector {} cannot be read: {}", at / kSectorSize, describe(read.error()));
        if (expect == Expect::all && truth.lost[at / kSectorSize]) {
          return fmt::format("sector {} is lost, but was read", at / kSectorSize);
        }
        if (std::memcmp(sector.data(), truth.bytes.data() + at, kSectorSize) == 0) continue;
        if (stale && std::memcmp(sector.data(), primary().data() + at, kSectorSize) == 0) continue;
        return fmt::format("sector {} is wrong", at / kSectorSize);
      }
    }
    return {};
  }

  static bool same(const Remains& l, const Remains& r) { return l.map == r.map && l.spare == r.spare; }

  // What a mount does: "refused" or "right", else what is wrong.
  [[nodiscard]] std::string mounted(const Remains& remains) const {
    Site site(specimen(), remains, primary());
    const auto volume = site.mount(site.map_path());
    if (volume) {
      std::string what = wrong(**volume, Expect::all);
      return what.empty() ? "right" : what;
    }
    if (volume.error().message.empty()) return "refused without a word";
    if (!same(site.now(), remains)) return "refused, but something was written";
    return "refused";
  }

  [[nodiscard]] std::string checked(const Remains& remains, bool mountable) const {
    Site site(specimen(), remains, primary());
    const auto findings = store::check_map(site.map_path(), {{SpareId{1}, &site.spare()}});
    if (!same(site.now(), remains)) return "check wrote something";
    if (!findings) return mountable ? "check cannot look: " + describe(findings.error()) : "named";
    const bool error = std::any_of(findings->begin(), findings->end(), [](const store::Finding& finding) {
      return finding.severity == store::Finding::Severity::error;
    });
    if (!mountable && !error) return "check finds no reason for the refusal";
    return findings->empty() ? "clean" : error ? "named" : "mendable";
  }

  // What a mount does after a repair: "repaired", "left", "needless", else what is wrong.
  [[nodiscard]] std::string repaired(const Remains& remains) const {
    Site site(specimen(), remains, primary());
    const auto repair = store::repair_map(site.map_path(), {{SpareId{1}, &site.spare()}});
    const bool clean = repair && repair->left.empty();
    if (repair && !clean && repair->reason.empty()) return "something is left, but not why";
    const auto volume = site.mount(site.map_path());
    if (!volume) return clean ? "repaired, but refused: " + describe(volume.error()) : "left";
    std::string what = wrong(**volume, Expect::all);
    if (!what.empty()) return "after the repair " + what;
    if (!clean) return "usable";
    return repair->mended.empty() ? "needless" : "repaired";
  }

  [[nodiscard]] store::RecoverySpec spec(Site& site, bool accept_stale) const {
    store::RecoverySpec spec;
    spec.map_path = site.other_path();
    spec.primary_path = "/primary";
    spec.primary_identity = Specimen::identity(kSeed);
    spec.check_primary = [](const std::string& remembered) -> Result<void> {
      if (remembered == Specimen::identity(kSeed)) return {};
      return fail(Errc::foreign, "another primary, /primary, give the right one");
    };
    spec.primary_size = site.primary().geometry().size;
    spec.spares.push_back({&site.spare(), "/spare", ""});
    spec.accept_stale = accept_stale;
    return spec;
  }

  // What a mount of the recovered map does: "refused", "proven", "accepted", else what is wrong.
  [[nodiscard]] std::string recovered(const Remains& remains, bool accept_stale, const Corruption* corruption) const {
    Site site(specimen(), remains, primary());
    const auto made = store::recover_map(spec(site, accept_stale));
    if (!same(site.now(), remains)) return "recovery wrote something";
    if (!made) return made.error().error.message.empty() ? "not recovered without a word" : "refused";
    if (!accept_stale && !made->proven) return "recovered without being proven";
    if (!made->proven && made->doubts.empty()) return "accepted without a doubt";
    const auto findings = store::check_map(site.other_path(), {{SpareId{1}, &site.spare()}});
    if (!findings) return "the recovered map cannot be checked";
    for (const store::Finding& finding : *findings) {
      if (finding.severity == store::Finding::Severity::error) return "the recovered map has: " + finding.text;
    }
    const auto volume = site.mount(site.other_path());
    if (!volume) return "recovered, but refused: " + describe(volume.error());
    if (corruption != nullptr && corruption->earlier != nullptr) {
      // What it held then, or what the primary holds now.
      std::string what = wrong(**volume, Expect::stale, *corruption->earlier);
      return what.empty() ? "earlier" : "after recovery from an earlier spare " + what;
    }
    if (corruption != nullptr && accept_stale && corruption->is_earlier_if_accepted) return "earlier";
    std::string what = wrong(**volume, made->proven ? Expect::all_but_marks : Expect::stale);
    if (!what.empty()) return "after recovery " + what;
    return made->proven ? "proven" : "accepted";
  }
};

TEST_P(Corruptions, AreRefusedOrRepairedAndNeverGiveAWrongByte) {
  const Remains& base = specimen().*GetParam().remains;
  ASSERT_EQ(mounted(base), "right") << "the oracle itself is wrong";
  ASSERT_EQ(recovered(base, false, nullptr), "proven");
  const auto list = all_corruptions(specimen(), base, foreign());
  std::set<std::string> names;
  std::map<std::string, int> counts;
  for (const Corruption& corruption : list) {
    ASSERT_TRUE(names.insert(corruption.name).second) << corruption.name;
    Remains remains = base;
    corruption.apply(remains);
    const std::string mount = mounted(remains);
    const std::string check = checked(remains, mount == "right");
    const std::string repair = repaired(remains);
    const std::string recover = recovered(remains, false, &corruption);
    const std::string accept = recovered(remains, true, &corruption);
    std::printf("%s: mount %s, check %s, repair %s, recover %s, with --accept-stale %s\n", corruption.name.c_str(),
                mount.c_str(), check.c_str(), repair.c_str(), recover.c_str(), accept.c_str());
    const auto is_one_of = [](const std::string& text, std::initializer_list<const char*> those) {
      return std::find(those.begin(), those.end(), text) != those.end();
    };
    EXPECT_TRUE(is_one_of(mount, {"refused", "right"})) << corruption.name << ": " << mount;
    EXPECT_TRUE(is_one_of(check, {"clean", "named", "mendable"})) << corruption.name << ": " << check;
    EXPECT_TRUE(is_one_of(repair, {"repaired", "needless", "left", "usable"})) << corruption.name << ": " << repair;
    EXPECT_TRUE(is_one_of(recover, {"refused", "proven", "earlier"})) << corruption.name << ": " << recover;
    EXPECT_TRUE(is_one_of(accept, {"refused", "proven", "accepted", "earlier"})) << corruption.name << ": " << accept;
    if (corruption.is_one_copy) {
      EXPECT_EQ(mount, "right") << corruption.name;
      EXPECT_EQ(recover, "proven") << corruption.name;
    }
    for (const std::string& outcome :
         {"mount " + mount, "check " + check, "repair " + repair, "recover " + recover, "accept " + accept}) {
      ++counts[outcome];
    }
  }
  std::printf("%zu corruptions, %s\n", list.size(), GetParam().name);
  for (const auto& [outcome, count] : counts) std::printf("  %s: %d\n", outcome.c_str(), count);
  EXPECT_GE(list.size(), 200U);
  // Were everything refused, nothing would be shown.
  EXPECT_GT(counts["repair repaired"], 20);
  EXPECT_GT(counts["recover proven"], 100);
  EXPECT_GT(counts["mount refused"], 50);
}

const Base kBases[] = {
    {"ClosedInOrder", &Specimen::closed, &Specimen::closed_truth, &Specimen::primary},
    {"Killed", &Specimen::killed, &Specimen::killed_truth, &Specimen::primary_when_killed},
};
std::string name_of(const ::testing::TestParamInfo<Base>& base) { return base.param.name; }

INSTANTIATE_TEST_SUITE_P(Bases, Corruptions, ::testing::ValuesIn(kBases), name_of);

}  // namespace
}  // namespace remapfs::testing
