// SPDX-License-Identifier: Apache-2.0
#include "fuse/transport.hpp"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <thread>

namespace remapfs::fuse {

namespace {

UniqueFd clone_of(const UniqueFd& channel) {
  UniqueFd clone(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  auto original = static_cast<std::uint32_t>(channel.get());
  if (clone && ::ioctl(clone.get(), FUSE_DEV_IOC_CLONE, &original) != 0) clone.reset();
  return clone;
}

Result<std::unique_ptr<Engine>> make_engine(std::vector<std::unique_ptr<Session>> sessions,
                                            const TransportOptions& options, TransportInfo& info) {
  if (options.direct_disk != nullptr) {
    if (!info.cloned) {
      info.no_uring = "/dev/fuse may not be opened for descriptors of its own";
    } else {
      const unsigned half = std::max(1U, std::thread::hardware_concurrency() / 2);
      const unsigned wanted = options.ring_workers != 0 ? options.ring_workers : half;
      auto engine = make_uring_engine(sessions, *options.direct_disk, wanted);
      if (engine) return engine;
      info.no_uring = describe(engine.error());
    }
  }
  return make_blocking_engine(std::move(sessions));
}

}  // namespace

Result<TransportDescriptors> clone_descriptors(const UniqueFd& channel, unsigned count) {
  if (count == 0) return fail(Errc::invalid, "a transport needs at least one worker");
  TransportDescriptors descriptors;
  descriptors.cloned = true;
  for (unsigned i = 0; i < count; ++i) {
    UniqueFd clone = clone_of(channel);
    if (!clone) {
      descriptors.cloned = false;
      descriptors.workers.clear();
      break;
    }
    descriptors.workers.push_back(std::move(clone));
  }
  while (descriptors.workers.size() < count) {
    UniqueFd duplicate(::fcntl(channel.get(), F_DUPFD_CLOEXEC, 3));
    if (!duplicate) return fail(Errc::no_memory, "no file descriptors left for workers", errno);
    descriptors.workers.push_back(std::move(duplicate));
  }
  return descriptors;
}

std::string TransportInfo::describe() const {
  std::string text = engine + ", " + std::to_string(workers) + " workers on ";
  text += cloned ? "cloned descriptors" : "one shared descriptor";
  text += ", protocol " + std::to_string(init.protocol_major) + "." + std::to_string(init.protocol_minor);
  text += ", max_write " + std::to_string(init.max_write) + ", max_background " + std::to_string(limits.max_background);
  if (!limits.confirmed) text += " (not confirmed)";
  return text;
}

Transport::Transport(std::unique_ptr<Engine> engine, TransportInfo info, InitExchange init_exchange)
    : engine_(std::move(engine)), info_(std::move(info)), init_exchange_(std::move(init_exchange)) {}

Transport::~Transport() = default;

Result<std::unique_ptr<Transport>> Transport::start(TransportDescriptors descriptors,
                                                    const fuse_lowlevel_ops& operations, void* service,
                                                    const TransportOptions& options) {
  if (descriptors.workers.empty()) return fail(Errc::invalid, "a transport needs at least one worker");
  const InitWishes wishes{options.max_write, options.max_read, options.max_readahead, options.max_background,
                          options.congestion_threshold};
  std::vector<std::unique_ptr<Session>> sessions;
  for (UniqueFd& descriptor : descriptors.workers) {
    auto session = Session::create(std::move(descriptor), operations, service, wishes);
    if (!session) return fail(std::move(session.error()));
    // Whoever had it before may have left it otherwise.
    if (auto waits = (*session)->set_blocking(true); !waits) return fail(std::move(waits.error()));
    sessions.push_back(std::move(*session));
  }

  // The kernel asks once for the whole connection; libfuse wants every session to have been asked.
  InitExchange init = std::move(descriptors.init);
  std::size_t to_replay = 0;
  if (init.empty()) {
    auto served = sessions.front()->serve_init(options.init_patience);
    if (!served) return fail(std::move(served.error()));
    init = std::move(*served);
    to_replay = 1;
  }
  for (; to_replay < sessions.size(); ++to_replay) {
    if (auto replayed = sessions[to_replay]->replay_init(init); !replayed) {
      return fail(std::move(replayed.error()));
    }
  }
  // Nobody receives yet: what comes back is worked on once.
  if (descriptors.resend) {
    if (auto asked = sessions.front()->ask_for_resend(); !asked) return fail(std::move(asked.error()));
  }

  TransportInfo info;
  info.cloned = descriptors.cloned;
  info.init = sessions.front()->init_outcome();
  info.limits = granted_limits({options.max_background, options.congestion_threshold, false}, options.connection);
  auto engine = make_engine(std::move(sessions), options, info);
  if (!engine) return fail(std::move(engine.error()));
  info.engine = (*engine)->name();
  info.workers = (*engine)->workers();
  if (auto started = (*engine)->start(); !started) return fail(std::move(started.error()));
  return std::unique_ptr<Transport>(new Transport(std::move(*engine), std::move(info), std::move(init)));
}

}  // namespace remapfs::fuse
