// SPDX-License-Identifier: Apache-2.0
#include "cli/screen.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <ostream>

namespace remapfs::cli {
namespace {

// The other page of the terminal, no cursor, and lines that are cut at the edge instead of going on in the next one.
constexpr const char* kEnter = "\x1b[?1049h\x1b[?25l\x1b[?7l";
constexpr const char* kLeave = "\x1b[?7h\x1b[?25h\x1b[?1049l";
constexpr const char* kHome = "\x1b[H";
constexpr const char* kEndOfLine = "\x1b[0m\x1b[K";
constexpr const char* kClearRest = "\x1b[J";

constexpr char kCtrlC = 3;
constexpr char kCtrlD = 4;
constexpr char kCtrlL = 12;
constexpr char kCtrlZ = 26;
constexpr char kCtrlBackslash = 28;

// Signals that end the program have to give the terminal back first.
constexpr std::array kEnds{SIGINT, SIGTERM, SIGHUP, SIGQUIT};
volatile std::sig_atomic_t ended = 0;
volatile std::sig_atomic_t resized = 0;

void note(int signal) {
  if (signal == SIGWINCH) {
    resized = 1;
  } else {
    ended = 1;
  }
}

void listen_to(int signal) {
  struct sigaction action {};
  action.sa_handler = note;
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

Screen::Screen(std::ostream& out) : out_(out) {
  for (const int signal : kEnds) listen_to(signal);
  listen_to(SIGWINCH);
  has_keys_ = ::tcgetattr(STDIN_FILENO, &before_) == 0;
  enter();
}

Screen::~Screen() { leave(); }

void Screen::enter() {
  if (has_keys_) {
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    ::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
  }
  out_ << kEnter << std::flush;
}

void Screen::leave() {
  out_ << kLeave << std::flush;
  if (has_keys_) ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
}

Screen::Size Screen::size() {
  winsize window{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_col == 0 || window.ws_row == 0) return {};
  return {window.ws_col, window.ws_row};
}

void Screen::draw(const std::vector<std::string>& lines) {
  const Size window = size();
  out_ << kHome;
  for (std::size_t i = 0; i < lines.size() && i < window.rows; ++i) {
    out_ << (i == 0 ? "" : "\r\n") << lines[i] << kEndOfLine;
  }
  out_ << kClearRest << std::flush;
}

Screen::Wake Screen::wait(std::chrono::milliseconds at_most) {
  const auto end = std::chrono::steady_clock::now() + at_most;
  for (;;) {
    if (ended != 0 || !out_) return Wake::quit;
    if (resized != 0) {
      resized = 0;
      return Wake::resized;
    }
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    if (left <= 0) return Wake::time;
    pollfd keys{has_keys_ ? STDIN_FILENO : -1, POLLIN, 0};
    if (::poll(&keys, 1, static_cast<int>(left)) <= 0) continue;
    char key = 0;
    if ((keys.revents & POLLIN) == 0 || ::read(STDIN_FILENO, &key, 1) != 1) return Wake::quit;  // the terminal is gone
    switch (key) {
      case 'q':
      case 'Q':
      case kCtrlC:
      case kCtrlD:
      case kCtrlBackslash: return Wake::quit;
      case kCtrlL: return Wake::resized;
      case kCtrlZ:
        leave();
        std::raise(SIGTSTP);
        enter();
        return Wake::resized;
      default: break;
    }
  }
}

}  // namespace remapfs::cli
