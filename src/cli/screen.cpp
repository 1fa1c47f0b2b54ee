// SPDX-License-Identifier: Apache-2.0
#include "cli/screen.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <ostream>
#include <string_view>

namespace remapfs::cli {
namespace {

// The other page of the terminal, no cursor, and lines that are cut at the edge instead of going on in the next one.
constexpr const char* kEnter = "\x1b[?1049h\x1b[?25l\x1b[?7l";
constexpr const char* kLeave = "\x1b[?7h\x1b[?25h\x1b[?1049l";
constexpr const char* kHome = "\x1b[H";
constexpr const char* kEndOfLine = "\x1b[0m\x1b[K";
constexpr const char* kClearRest = "\x1b[J";

constexpr char kCtrlD = 4;
constexpr char kCtrlL = 12;

// Signals that end the program give the terminal back first, at once: whoever asks a daemon that hangs would wait.
constexpr std::array kEnds{SIGINT, SIGTERM, SIGHUP, SIGQUIT};
volatile std::sig_atomic_t to_be_drawn = 0;

// What the handlers need, before any of them can run.
termios as_it_was{};
bool has_keyboard = false;

void write_text(std::string_view text) {
  [[maybe_unused]] const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
}

void take_terminal() {
  if (has_keyboard) {
    termios keys = as_it_was;
    // Ctrl-C and Ctrl-Z stay signals: they are for everybody who shares the terminal with this program.
    keys.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    keys.c_cc[VMIN] = 0;
    keys.c_cc[VTIME] = 0;
    ::tcsetattr(STDIN_FILENO, TCSADRAIN, &keys);
  }
  write_text(kEnter);
}

void give_terminal_back() {
  write_text(kLeave);
  if (has_keyboard) ::tcsetattr(STDIN_FILENO, TCSADRAIN, &as_it_was);
}

void listen_to(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  ::sigaction(signal, &action, nullptr);
}

// In the handlers only what may be called there: write, tcsetattr, sigaction, raise, _exit.

void end(int) {
  give_terminal_back();
  ::_exit(0);
}

void stop(int) {
  const int error = errno;
  give_terminal_back();
  listen_to(SIGTSTP, SIG_DFL);
  ::raise(SIGTSTP);  // takes effect when this returns
  errno = error;
}

void go_on(int) {
  const int error = errno;
  listen_to(SIGTSTP, stop);
  take_terminal();
  to_be_drawn = 1;
  errno = error;
}

void note_size(int) { to_be_drawn = 1; }

}  // namespace

Screen::Screen(std::ostream& out) : out_(out) {
  out_.flush();
  has_keyboard = ::tcgetattr(STDIN_FILENO, &as_it_was) == 0;
  for (const int signal : kEnds) listen_to(signal, end);
  listen_to(SIGTSTP, stop);
  listen_to(SIGCONT, go_on);
  listen_to(SIGWINCH, note_size);
  take_terminal();
}

Screen::~Screen() {
  out_.flush();
  for (const int signal : kEnds) listen_to(signal, SIG_DFL);
  for (const int signal : {SIGTSTP, SIGCONT, SIGWINCH}) listen_to(signal, SIG_DFL);
  give_terminal_back();
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
  const auto until = std::chrono::steady_clock::now() + at_most;
  for (;;) {
    if (!out_) return Wake::quit;
    if (to_be_drawn != 0) {
      to_be_drawn = 0;
      return Wake::resized;
    }
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
    if (left <= 0) return Wake::time;
    pollfd keys{has_keyboard ? STDIN_FILENO : -1, POLLIN, 0};
    if (::poll(&keys, 1, static_cast<int>(left)) <= 0) continue;
    char key = 0;
    if ((keys.revents & POLLIN) == 0 || ::read(STDIN_FILENO, &key, 1) != 1) return Wake::quit;  // the terminal is gone
    if (key == 'q' || key == 'Q' || key == kCtrlD) return Wake::quit;
    if (key == kCtrlL) return Wake::resized;
  }
}

}  // namespace remapfs::cli
