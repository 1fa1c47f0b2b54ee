// SPDX-License-Identifier: Apache-2.0
#include "cli/mount_options.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace remapfs::cli {
namespace {

using ::testing::ElementsAre;

Result<MountSettings> parse(std::vector<std::string> lists) { return parse_mount_options(lists); }

TEST(MountOptions, DefaultsAreReadWrite) {
  const auto settings = parse({});
  ASSERT_TRUE(settings);
  EXPECT_FALSE(settings->read_only || settings->degraded || settings->allow_other);
  EXPECT_EQ(settings->on_loss, OnLoss::fail);
}

TEST(MountOptions, EachOfOursIsTaken) {
  const auto settings = parse({"ro,allow_other", "on-loss=wait,workers=3,engine=blocking"});
  ASSERT_TRUE(settings);
  EXPECT_TRUE(settings->read_only);
  EXPECT_TRUE(settings->allow_other);
  EXPECT_EQ(settings->on_loss, OnLoss::wait);
  EXPECT_EQ(settings->workers, 3U);
  EXPECT_EQ(settings->engine, MountSettings::Engine::blocking);
}

TEST(MountOptions, LaterOnesWin) {
  EXPECT_FALSE(parse({"ro,rw"})->read_only);
  EXPECT_TRUE(parse({"rw", "ro"})->read_only);
  EXPECT_EQ(parse({"on-loss=wait", "on-loss=fail"})->on_loss, OnLoss::fail);
}

TEST(MountOptions, DegradedIsReadOnlyWhateverElseIsSaid) {
  const auto settings = parse({"degraded,rw"});
  ASSERT_TRUE(settings);
  EXPECT_TRUE(settings->degraded);
  EXPECT_TRUE(settings->read_only);
}

TEST(MountOptions, WhatMountAndFstabSayIsNeutral) {
  const auto settings =
      parse({"rw,dev,suid,defaults,noauto,nofail,_netdev,user,users,owner,group,exec,async,auto,"
             "x-systemd.automount,X-mount.mkdir,comment=old disk,user=joe,nouser,default_permissions"});
  ASSERT_TRUE(settings) << describe(settings.error());
  EXPECT_FALSE(settings->read_only);
  EXPECT_TRUE(settings->passed_on.empty());
}

TEST(MountOptions, SomeGoToTheKernel) {
  const auto settings = parse({"noexec,noatime,context=\"system_u:object_r:x:s0:c1,c2\""});
  ASSERT_TRUE(settings) << describe(settings.error());
  EXPECT_THAT(settings->passed_on, ElementsAre("noexec", "noatime", "context=\"system_u:object_r:x:s0:c1,c2\""));
}

TEST(MountOptions, EmptyOnesAreNothing) { EXPECT_TRUE(parse({"", ",", "ro,,allow_other,"})); }

TEST(MountOptions, UnknownOnesAreErrors) {
  for (const char* option : {"frobnicate", "on-loss=", "on-loss=panic", "on-loss", "workers=0", "workers=257",
                             "engine=", "engine=fast", "workers=-1", "workers=x", "workers=", "workers=3x", "roo"}) {
    const auto settings = parse({option});
    ASSERT_FALSE(settings) << option;
    EXPECT_EQ(settings.error().code, Errc::invalid);
    EXPECT_NE(settings.error().message.find(option), std::string::npos);
  }
}

TEST(MountOptions, RemountIsRefusedAsSuch) {
  const auto settings = parse({"remount,ro"});
  ASSERT_FALSE(settings);
  EXPECT_EQ(settings.error().code, Errc::unsupported);
}

}  // namespace
}  // namespace remapfs::cli
