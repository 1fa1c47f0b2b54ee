// SPDX-License-Identifier: Apache-2.0
// The engine against a model that knows nothing but cells: for every cell and rule one count, every request a walk
// over its cells.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "fault_engine.hpp"

namespace faulty {
namespace {

constexpr std::uint32_t kCellSize = 4096;
constexpr std::uint64_t kCells = 40;
constexpr std::uint64_t kDiskSize = kCells * kCellSize - 1536;  // the last cell is partial

struct ModelRule {
  std::uint64_t begin;  // cells
  std::uint64_t end;
  RuleOp op;
  RuleMode mode;
  std::uint32_t times;
  int error;  // 0: slow
  int slow_ms;
  std::vector<std::uint32_t> used = std::vector<std::uint32_t>(kCells);

  [[nodiscard]] bool bites(std::uint64_t cell) const {
    if (cell < begin || cell >= end) return false;
    if (mode == RuleMode::times) return used[cell] < times;
    return mode == RuleMode::sticky || used[cell] == 0;
  }
  [[nodiscard]] std::string text() const {
    // Somewhere in the first cell to somewhere in the last one.
    std::string result = "sectors=" + std::to_string(begin * 8 + begin % 5) + "-" + std::to_string(end * 8 - 4);
    if (mode != RuleMode::until_written || op != RuleOp::read) {
      result += op == RuleOp::read ? ",op=read" : op == RuleOp::write ? ",op=write" : ",op=both";
    }
    if (mode == RuleMode::times) result += ",mode=times:" + std::to_string(times);
    if (mode == RuleMode::until_written) result += ",mode=until-written";
    if (error != 0) result += ",error=" + std::to_string(error);
    if (slow_ms != 0) result += ",slow=" + std::to_string(slow_ms) + "ms";
    return result;
  }
};

struct ModelPlan {
  int error = 0;
  std::uint64_t usable_end = 0;
  int slow_ms = 0;
};

class Model {
 public:
  void add(ModelRule rule) { rules_.push_back(std::move(rule)); }

  ModelPlan access(std::uint64_t begin, std::uint64_t end, bool write) {
    ModelPlan plan{0, end, 0};
    for (std::uint64_t cell = begin / kCellSize; cell * kCellSize < end && plan.error == 0; ++cell) {
      for (ModelRule& rule : rules_) {
        if (!concerns(rule, cell, begin, end, write) || !rule.bites(cell)) continue;
        if (rule.mode == RuleMode::times) ++rule.used[cell];
        plan.slow_ms = std::max(plan.slow_ms, rule.slow_ms);
        if (rule.error == 0 || plan.error != 0) continue;
        plan.error = rule.error;
        plan.usable_end = std::max(begin, cell * kCellSize);
      }
      if (plan.error == 0 || !write || !covers(begin, end, cell)) continue;
      for (ModelRule& rule : rules_) {
        if (rule.mode == RuleMode::until_written && rule.op != RuleOp::read) rule.used[cell] = 1;
      }
    }
    return plan;
  }

  void stored(std::uint64_t begin, std::uint64_t end) {
    for (std::uint64_t cell = 0; cell < kCells; ++cell) {
      if (!covers(begin, end, cell)) continue;
      for (ModelRule& rule : rules_) {
        if (rule.mode == RuleMode::until_written) rule.used[cell] = 1;
      }
    }
  }

 private:
  static bool covers(std::uint64_t begin, std::uint64_t end, std::uint64_t cell) {
    return begin <= cell * kCellSize && end >= std::min((cell + 1) * kCellSize, kDiskSize);
  }
  static bool concerns(const ModelRule& rule, std::uint64_t cell, std::uint64_t begin, std::uint64_t end, bool write) {
    if (!write) return rule.op != RuleOp::write;
    return rule.op != RuleOp::read || !covers(begin, end, cell);
  }

  std::vector<ModelRule> rules_;
};

ModelRule random_rule(std::mt19937& random) {
  ModelRule rule{};
  rule.begin = random() % kCells;
  rule.end = std::min<std::uint64_t>(kCells, rule.begin + 1 + random() % 6);
  rule.mode = static_cast<RuleMode>(random() % 3);
  rule.op = static_cast<RuleOp>(random() % 3);
  rule.times = static_cast<std::uint32_t>(1 + random() % 3);
  static constexpr int kErrors[] = {EIO, ENODATA, EREMOTEIO, 0};
  rule.error = kErrors[random() % 4];
  rule.slow_ms = rule.error == 0 || random() % 4 == 0 ? 1 + static_cast<int>(random() % 9) : 0;
  return rule;
}

std::uint32_t first_seed() {
  const char* chosen = std::getenv("REMAPFS_TEST_SEED");
  return chosen != nullptr ? static_cast<std::uint32_t>(std::strtoul(chosen, nullptr, 0)) : 1U;
}

TEST(FaultEngineModel, EveryRequestEndsAsInAWalkOverItsCells) {
  for (std::uint32_t seed = first_seed(); seed < first_seed() + 200; ++seed) {
    SCOPED_TRACE("REMAPFS_TEST_SEED=" + std::to_string(seed));
    std::mt19937 random(seed);
    Model model;
    FaultEngine engine(DiskShape(ByteCount(kDiskSize), kCellSize), [] { return nanoseconds(0); });
    for (int step = 0; step < 300; ++step) {
      if (step % 30 == 0) {
        const ModelRule rule = random_rule(random);
        const auto spec = parse_rule(rule.text(), "/");
        ASSERT_TRUE(spec) << spec.error().message;
        ASSERT_TRUE(engine.add({*spec})) << rule.text();
        model.add(rule);
      }
      std::uint64_t begin = random() % kDiskSize;
      std::uint64_t end = begin + 1 + random() % (8 * kCellSize);
      if (random() % 2 == 0) begin = begin / kCellSize * kCellSize;
      if (random() % 2 == 0) end = (end + kCellSize - 1) / kCellSize * kCellSize;
      end = std::min(end, kDiskSize);
      const bool write = random() % 2 == 0;
      const ByteRange range{ByteOffset(begin), ByteOffset(end)};
      const AccessPlan plan = write ? engine.plan_write(range) : engine.plan_read(range);
      const ModelPlan expected = model.access(begin, end, write);
      ASSERT_EQ(plan.error, expected.error) << "step " << step;
      ASSERT_EQ(plan.usable.end.value(), expected.usable_end) << "step " << step;
      ASSERT_EQ(plan.delay, std::chrono::milliseconds(expected.slow_ms)) << "step " << step;
      if (!write || random() % 8 == 0) continue;
      engine.stored(plan, plan.usable);
      model.stored(begin, expected.usable_end);
    }
  }
}

}  // namespace
}  // namespace faulty
