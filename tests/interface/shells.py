# SPDX-License-Identifier: Apache-2.0
"""Asks the shells themselves what they would offer for a command line."""
import atexit
import os
import pty
import re
import select
import signal
import subprocess
import tempfile
import time

BASH_SCRIPT = """
. /usr/share/bash-completion/bash_completion
. "$1"
compopt() { :; }
COMP_LINE=$2
COMP_POINT=${#COMP_LINE}
COMP_WORDS=($COMP_LINE)
[[ $COMP_LINE != *' ' ]] || COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
function=$(complete -p "${COMP_WORDS[0]}" | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
"$function" "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def bash(file, line):
    done = subprocess.run(["bash", "--norc", "-c", BASH_SCRIPT, "bash", file, line],
                          capture_output=True, text=True, timeout=60, check=True)
    if done.stderr:
        raise RuntimeError(f"bash complains about {file}: {done.stderr}")
    return [word for word in done.stdout.split("\n") if word]


def fish(file, line):
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(["fish", "--no-config", "-c", 'source $argv[1]; complete --do-complete=$argv[2]', file, line],
                              capture_output=True, text=True, timeout=60, check=True, env=dict(os.environ, HOME=home))
    if done.stderr:
        raise RuntimeError(f"fish complains about {file}: {done.stderr}")
    return [entry.split("\t")[0] for entry in done.stdout.split("\n") if entry]


# compadd is where every completion function of zsh ends: it tells what it was given, and does not complete.
ZSH_SETUP = """
PROMPT= RPROMPT= PS2=
unsetopt zle_bracketed_paste 2> /dev/null; unset zle_bracketed_paste
autoload -Uz compinit; compinit -u -D
compadd() {
  local option
  for option in "$@"; do
    [[ $option == -- || $option == - ]] && break
    [[ $option == -*[OAD] ]] && { builtin compadd "$@"; return }
  done
  local -a hits
  builtin compadd -A hits "$@"
  (( $#hits )) && print -rl -- $hits >> REPORT
  return 1
}
complete-and-tell() { zle complete-word; print -r -- '#end' >> REPORT; }
zle -N complete-and-tell
bindkey '^I' complete-and-tell
bindkey '^U' kill-whole-line
print -r -- '#end' >> REPORT
"""


class Zsh:
    """A zsh of its own on a terminal of its own: lines are typed into it, and Tab is pressed."""

    def __init__(self, file):
        self.folder = tempfile.TemporaryDirectory()
        self.report = f"{self.folder.name}/report"
        name = os.path.basename(file).rpartition(".")[0]
        os.symlink(os.path.abspath(file), f"{self.folder.name}/_{name}")
        with open(f"{self.folder.name}/setup", "w", encoding="utf-8") as script:
            script.write(f"fpath=({self.folder.name} $fpath)\n{ZSH_SETUP.replace('REPORT', self.report)}")
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            os.environ.update(HOME=self.folder.name, TERM="dumb")
            os.execvp("zsh", ["zsh", "-f", "-i"])
        self.type(f". {self.folder.name}/setup\n")

    def type(self, text):
        """What is reported until the next mark."""
        os.write(self.terminal, text.encode())
        said = b""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if select.select([self.terminal], [], [], 0.005)[0]:
                said += os.read(self.terminal, 65536)
            if os.path.exists(self.report):
                with open(self.report, encoding="utf-8") as file:
                    lines = file.read().split("\n")
                if "#end" in lines:
                    os.unlink(self.report)
                    return [word for word in lines if word and word != "#end"]
        raise RuntimeError(f"zsh did not answer: {re.sub(rb'[^ -~]+', b' ', said).decode()}")

    def close(self):
        os.close(self.terminal)
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)
        self.folder.cleanup()


sessions = {}


@atexit.register
def close_sessions():
    for session in sessions.values():
        session.close()


def zsh(file, line):
    if file not in sessions:
        sessions[file] = Zsh(file)
    return sessions[file].type("\x15" + line + "\t")


OFFERS = {"bash": bash, "fish": fish, "zsh": zsh}
