// SPDX-License-Identifier: Apache-2.0
// What a daemon of somebody else answers, as it is shown: an exception that the program turns into one line, at worst.
#include <sstream>

#include "cli/status_view.hpp"
#include "cli/watch_view.hpp"
#include "control/metrics.hpp"
#include "control/protocol.hpp"
#include "fuzz/fuzz_input.hpp"

namespace {

template <class Show>
void show(Show&& how) {
  try {
    how();
  } catch (const nlohmann::json::exception&) {
  } catch (const remapfs::JsonMemberMissing&) {
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace remapfs;
  const auto reply = decode_reply(fuzz::as_text(data, size));
  if (!reply || !reply->status.is_object()) return 0;
  const nlohmann::ordered_json status = reply->status;
  for (const MetricsFormat format : {MetricsFormat::openmetrics, MetricsFormat::prometheus}) {
    show([&] { static_cast<void>(render_metrics(std::span(&status, 1), format)); });
  }
  show([&] {
    cli::WatchView view(true);
    view.add(status, cli::WatchView::Clock::time_point());
    view.add(status, cli::WatchView::Clock::time_point(std::chrono::seconds(3)));
    static_cast<void>(view.lines(100, 40, "now"));
  });
  show([&] { static_cast<void>(cli::paths_of_status(status)); });
  show([&] { static_cast<void>(cli::replacement_in_words(status["replacement"])); });
  show([&] { static_cast<void>(cli::pretty(status)); });
  return 0;
}
