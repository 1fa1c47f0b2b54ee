// SPDX-License-Identifier: Apache-2.0
#include "control/protocol.hpp"

#include <gtest/gtest.h>

#include "unit/control/block_ranges.hpp"

namespace remapfs {
namespace {

TEST(Protocol, EveryVerbSurvivesTheWire) {
  for (const Verb verb : {Verb::status, Verb::add, Verb::remove, Verb::retest, Verb::mark_lost, Verb::clear_lost,
                          Verb::resume, Verb::unmount, Verb::import_entries}) {
    Request request{verb, {}};
    if (takes_blocks(verb)) request.blocks = {blocks(0, 1), blocks(7, ~std::uint64_t{0})};
    if (verb == Verb::import_entries) request.entries = {{blocks(0, 1), 0}, {blocks(7, 9), ~std::uint64_t{0}}};
    const auto back = decode_request(encode(request));
    ASSERT_TRUE(back) << to_string(verb) << ": " << describe(back.error());
    EXPECT_EQ(back->verb, verb);
    EXPECT_EQ(back->blocks, request.blocks);
    EXPECT_EQ(back->entries, request.entries);
  }
}

TEST(Protocol, WhatAnImportHasDoneSurvivesTheWire) {
  const ImportCounts counts{1, 2, 3, 4};
  for (const auto& result : {Result<Outcome>(Outcome::done), Result<Outcome>(fail(Errc::busy, "in use"))}) {
    const auto line = decode_reply(to_line(encode(Completion{result, 0, counts})));
    ASSERT_TRUE(line && line->completion && line->completion->imported);
    EXPECT_EQ(*line->completion->imported, counts);
    EXPECT_EQ(line->completion->result.has_value(), result.has_value());
  }
}

TEST(Protocol, ScrubSurvivesTheWire) {
  for (const ScrubAction action :
       {ScrubAction::start, ScrubAction::pause, ScrubAction::resume, ScrubAction::stop, ScrubAction::status}) {
    for (const std::optional<std::uint64_t> rate : {std::optional<std::uint64_t>(), {0}, {~std::uint64_t{0}}}) {
      Request request;
      request.verb = Verb::scrub;
      request.scrub = {action, rate};
      const auto back = decode_request(encode(request));
      ASSERT_TRUE(back);
      EXPECT_EQ(back->scrub.action, action);
      EXPECT_EQ(back->scrub.rate, rate);
    }
  }
  Completion completion;
  completion.scrub = {{"state", "running"}};
  const auto line = decode_reply(to_line(encode(completion)));
  ASSERT_TRUE(line && line->completion);
  EXPECT_EQ(line->completion->scrub["state"], "running");
  EXPECT_TRUE(decode_reply(to_line(encode(Completion{})))->completion->scrub.is_null());
  for (const char* rest : {"", R"(,"action":"fly")", R"(,"action":7)", R"(,"action":"start","rate":-1)",
                           R"(,"action":"start","rate":"fast")"}) {
    EXPECT_FALSE(decode_request(std::string(R"({"protocol":1,"verb":"scrub")") + rest + "}")) << rest;
  }
}

TEST(Protocol, ReplacementSurvivesTheWire) {
  for (const ReplaceRequest& replace : {ReplaceRequest{ReplaceAction::start, "/dev/new disk", 0},
                                        ReplaceRequest{ReplaceAction::start, "/a", 64U << 20U},
                                        ReplaceRequest{ReplaceAction::stop, "", 0}, ReplaceRequest{}}) {
    Request request;
    request.verb = Verb::replace;
    request.replace = replace;
    const auto back = decode_request(encode(request));
    ASSERT_TRUE(back);
    EXPECT_EQ(back->replace.action, replace.action);
    EXPECT_EQ(back->replace.path, replace.path);
    EXPECT_EQ(back->replace.rate, replace.rate);
  }
  Completion completion;
  completion.replacement = {{"state", "copying"}};
  const auto line = decode_reply(to_line(encode(completion)));
  ASSERT_TRUE(line && line->completion);
  EXPECT_EQ(line->completion->replacement["state"], "copying");
  EXPECT_TRUE(line->completion->scrub.is_null());
  for (const char* rest : {"", R"(,"action":"fly")", R"(,"action":"start")", R"(,"action":"start","path":"new")"}) {
    EXPECT_FALSE(decode_request(std::string(R"({"protocol":1,"verb":"replace")") + rest + "}")) << rest;
  }
}

TEST(Protocol, SmartReadingsSurviveTheWire) {
  Request request;
  request.verb = Verb::smart;
  request.smart = {{0, "2026-01-31T23:59:59Z", "model serial", true, 1, 2, 3, 4, -5, ~std::uint64_t{0}},
                   {255, "2026-01-31T23:59:59Z", "", {}, {}, {}, {}, {}, {}, {}}};
  const auto decoded = decode_request(encode(request));
  ASSERT_TRUE(decoded) << describe(decoded.error());
  EXPECT_EQ(decoded->smart, request.smart);
  for (const char* wrong :
       {R"([])", R"({})", R"([1])", R"([{"device":0,"at":"2026-01-31T23:59:59Z"}])",
        R"([{"device":256,"at":"2026-01-31T23:59:59Z","drive":""}])", R"([{"device":0,"at":"now","drive":""}])"}) {
    const auto refused = decode_request(R"({"protocol":1,"verb":"smart","readings":)" + std::string(wrong) + "}");
    EXPECT_EQ(refused.error().code, Errc::invalid) << wrong;
  }
}

TEST(Protocol, ImportsOfTooMuchOrOfNothingAreRefused) {
  for (const char* entries :
       {"", ",\"entries\":[]", ",\"entries\":5", ",\"entries\":[[1,2]]", ",\"entries\":[[1,2,-1]]",
        ",\"entries\":[[2,2,1]]", ",\"entries\":[[0,65537,1]]", ",\"entries\":[[0,65536,1],[70000,70001,1]]",
        ",\"entries\":[[0,18446744073709551615,1]]"}) {
    const auto refused = decode_request(std::string(R"({"protocol":1,"verb":"import")") + entries + "}");
    ASSERT_FALSE(refused) << entries;
    EXPECT_EQ(refused.error().code, Errc::invalid);
  }
}

TEST(Protocol, LargestRequestFitsItsBound) {
  Request request{Verb::retest, {}};
  const std::uint64_t top = ~std::uint64_t{0};
  request.blocks.assign(kMaxRangesPerRequest, blocks(top - 1, top));
  const std::string line = encode(request);
  EXPECT_LE(line.size(), kMaxRequestBytes);
  EXPECT_TRUE(decode_request(line));
}

TEST(Protocol, WhatIsNoRequestIsRefused) {
  for (const char* line : {
           "",
           " ",
           "add",
           "null",
           "[]",
           "{",
           "\"add\"",
           "\x80\xff",
           R"({})",
           R"({"verb":"status"})",
           R"({"protocol":"1","verb":"status"})",
           R"({"protocol":-1,"verb":"status"})",
           R"({"protocol":1})",
           R"({"protocol":1,"verb":7})",
           R"({"protocol":1,"verb":"frobnicate"})",
           R"({"protocol":1,"verb":"add"})",
           R"({"protocol":1,"verb":"add","blocks":[]})",
           R"({"protocol":1,"verb":"add","blocks":7})",
           R"({"protocol":1,"verb":"add","blocks":[7]})",
           R"({"protocol":1,"verb":"add","blocks":[[1]]})",
           R"({"protocol":1,"verb":"add","blocks":[[1,2,3]]})",
           R"({"protocol":1,"verb":"add","blocks":[[-1,2]]})",
           R"({"protocol":1,"verb":"add","blocks":[[1.5,2]]})",
           R"({"protocol":1,"verb":"add","blocks":[["1","2"]]})",
           R"({"protocol":1,"verb":"add","blocks":[[5,5]]})",
           R"({"protocol":1,"verb":"add","blocks":[[6,5]]})",
           R"({"protocol":1,"verb":"add","blocks":[[1,99999999999999999999999]]})",
       }) {
    const auto request = decode_request(line);
    ASSERT_FALSE(request) << line;
    EXPECT_EQ(request.error().code, Errc::invalid) << line;
    EXPECT_EQ(describe(request.error()).find('\n'), std::string::npos);
  }
}

TEST(Protocol, AnotherProtocolNumberIsTooNew) {
  const auto request = decode_request(R"({"protocol":2,"verb":"status"})");
  ASSERT_FALSE(request);
  EXPECT_EQ(request.error().code, Errc::too_new);
}

TEST(Protocol, TooManyRangesAreRefused) {
  std::string line = R"({"protocol":1,"verb":"add","blocks":[)";
  for (std::size_t i = 0; i <= kMaxRangesPerRequest; ++i) line += i == 0 ? "[1,2]" : ",[1,2]";
  EXPECT_FALSE(decode_request(line + "]}"));
}

TEST(Protocol, DeepNestingIsRefusedWithoutHarm) {
  EXPECT_FALSE(decode_request(std::string(kMaxRequestBytes, '[')));
  const std::size_t depth = kMaxRequestBytes / 2 - 64;
  EXPECT_FALSE(decode_request(R"({"protocol":1,"verb":"add","blocks":)" + std::string(depth, '[') +
                              std::string(depth, ']') + "}"));
}

TEST(Protocol, UnknownMembersAreIgnored) {
  EXPECT_TRUE(decode_request(R"({"protocol":1,"verb":"status","colour":"blue"})"));
}

TEST(Protocol, ReportsSurviveTheWire) {
  const BlockReport bad{BlockIndex(12), fail(Errc::lost, "has lost sectors, block 12, rewrite it")};
  for (const BlockReport& report :
       {BlockReport{BlockIndex(0), Outcome::done}, BlockReport{BlockIndex(~std::uint64_t{0}), Outcome::already},
        BlockReport{BlockIndex(3), Outcome::still_bad}, bad}) {
    const auto line = decode_reply(encode(report).dump());
    ASSERT_TRUE(line);
    ASSERT_TRUE(line->block);
    EXPECT_FALSE(line->completion);
    EXPECT_EQ(line->block->block, report.block);
    ASSERT_EQ(line->block->result.has_value(), report.result.has_value());
    if (report.result) {
      EXPECT_EQ(*line->block->result, *report.result);
    } else {
      EXPECT_EQ(line->block->result.error().code, Errc::lost);
      EXPECT_EQ(line->block->result.error().message, report.result.error().message);
    }
  }
}

TEST(Protocol, CompletionSurvivesTheWire) {
  const auto line = decode_reply(encode(Completion{fail(Errc::busy, "held"), 42}).dump());
  ASSERT_TRUE(line && line->completion);
  EXPECT_EQ(line->completion->failed, 42U);
  ASSERT_FALSE(line->completion->result);
  EXPECT_EQ(line->completion->result.error().code, Errc::busy);
}

TEST(Protocol, GarbledAnswersAreRefused) {
  for (const char* line : {"", "x", "[]", "{}", R"({"done":true})", R"({"outcome":"maybe","done":true})",
                           R"({"outcome":"done"})", R"({"status":3})"}) {
    EXPECT_FALSE(decode_reply(line)) << line;
  }
}

}  // namespace
}  // namespace remapfs
