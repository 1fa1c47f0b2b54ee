// SPDX-License-Identifier: Apache-2.0
#include "cli/log.hpp"

#include <spdlog/async.h>
#include <spdlog/details/null_mutex.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <syslog.h>

#include <memory>

#include "cli/system_log.hpp"

namespace remapfs::cli {
namespace {

constexpr std::size_t kQueuedMessages = 1024;

int priority_of(spdlog::level::level_enum level) {
  if (level >= spdlog::level::err) return LOG_ERR;
  return level == spdlog::level::warn ? LOG_WARNING : LOG_INFO;
}

// Only the log's own thread comes here.
class SystemLogSink : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    log_.say(priority_of(message.level), {message.payload.data(), message.payload.size()});
  }
  void flush_() override {}

 private:
  SystemLog log_;
};

std::shared_ptr<spdlog::logger>& logger() {
  static std::shared_ptr<spdlog::logger> instance;
  return instance;
}

void log(spdlog::level::level_enum level, const std::string& message) {
  if (logger()) logger()->log(level, message);
}

}  // namespace

void open_log(LogPlace place) {
  spdlog::init_thread_pool(kQueuedMessages, 1);
  spdlog::sink_ptr sink;
  if (place == LogPlace::terminal) {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    sink->set_pattern("remapfs: %l: %v");
  } else {
    sink = std::make_shared<SystemLogSink>();
  }
  logger() = std::make_shared<spdlog::async_logger>("remapfs", std::move(sink), spdlog::thread_pool(),
                                                    spdlog::async_overflow_policy::overrun_oldest);
  logger()->flush_on(spdlog::level::info);
}

void close_log() {
  logger().reset();
  spdlog::shutdown();
}

void log_info(const std::string& message) { log(spdlog::level::info, message); }
void log_warning(const std::string& message) { log(spdlog::level::warn, message); }
void log_error(const std::string& message) { log(spdlog::level::err, message); }

}  // namespace remapfs::cli
