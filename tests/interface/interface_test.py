#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds what a program says with --help equal to its manual page and to the completions, both ways. The completions are
asked of the shells.

usage: interface_test.py SOURCE_DIR PROGRAM manual|bash|zsh|fish|current
"""
import pathlib
import re
import subprocess
import sys
import tempfile

source, path, what = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
sys.path.insert(0, str(source / "tools" / "completion-shells"))
from help_text import kind_of, read_program  # noqa: E402
from shells import OFFERS  # noqa: E402

faults = []


def equal(where, wanted, found):
    """Reports what --help has and the other has not, and the other way round."""
    faults.extend(f"{where}: {one} is missing, --help has it" for one in sorted(set(wanted) - set(found)))
    faults.extend(f"{where}: {one} is there, --help does not know it" for one in sorted(set(found) - set(wanted)))


# --- manual page ---


def section(page, heading):
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    return found[1] if found else ""


def synopsis_lines(page, name):
    block = re.search(r"```\n(.*?)```", section(page, "Synopsis"), re.S)[1]
    joined = re.sub(r"\n +", " ", block)  # a longer line goes on indented
    return [line.split()[1:] for line in joined.splitlines() if line.split()[0] == name]


def parse_synopsis(words):
    """(option names, {option: value}, positionals) of a line without program and verb."""
    options, values, positionals = [], {}, []
    last = None
    for word in (word.strip("[]") for word in words):
        if word in ("", "|"):
            continue
        if word.startswith("-"):
            last = word.split("|")
            options += last
        elif last and word.rstrip("]") and not words_end_option(words, last):
            values.update({name: word for name in last})
            last = None
        else:
            positionals.append(word)
            last = None
    return options, values, positionals


def words_end_option(words, names):
    """Whether the option closes its bracket at once: what follows is not its value."""
    return any(word.endswith("]") and word.strip("[]").split("|") == names for word in words)


def shown_value(option):
    """How a synopsis shows what an option wants."""
    if not option.value:
        return None
    kind, words = kind_of(option.value, option.text)
    return "|".join(words) if kind == "words" else option.value


def check_manual(program):
    section_number = "8" if program.name == "remapfs" else "1"
    page = (source / "docs" / "man" / f"{program.name}.{section_number}.md").read_text()
    lines = synopsis_lines(page, program.name)
    verbs = [verb.name for verb in program.verbs]
    listed = [line[0] for line in lines if re.fullmatch("[a-z][a-z-]*", line[0])]
    equal("synopsis", verbs, listed)
    general = " ".join(" ".join(line) for line in lines if line[0].startswith("-"))
    equal("synopsis of the program", [name for name in program.itself.option_names() if name.startswith("--")] or ["--help"],
          re.findall(r"(?<![\w-])--[a-z]+", general) or ["--help"])
    body = page.replace(section(page, "Synopsis"), "")
    for verb in program.verbs:
        parsed = [parse_synopsis(line[1:]) for line in lines if line[0] == verb.name]
        where = f"synopsis of {verb.name}"
        own = [option for option in verb.options if "--help" not in option.names]
        equal(where, [name for option in own for name in option.names], [name for one in parsed for name in one[0]])
        equal(where + ", values", [f"{name} {shown_value(option)}" for option in own if option.value for name in option.names],
              [f"{name} {value}" for one in parsed for name, value in one[1].items()])
        if verb.positionals:
            alternatives = {part.rstrip(".") for one in parsed for word in one[2] for part in word.split("|")}
            for positional in verb.positionals:
                kind, words = kind_of(positional.name, positional.text)
                shown = words if kind == "words" else [positional.name]
                if not alternatives.intersection([positional.name, *shown]):
                    faults.append(f"{where}: {positional.name} is missing, --help has it")
        if not re.search(rf"\*\*{verb.name}( [a-z]+)?\*\*", body):
            faults.append(f"manual: no text about **{verb.name}**")
        for option in own:
            if not any(re.search(rf"`{name}[ `]|{name}\b", body) for name in option.names):
                faults.append(f"manual: no text about {verb.name} {' '.join(option.names)}")
            for word in kind_of(option.value, option.text)[1]:
                if word.rstrip("=").split("=")[0] not in body:
                    faults.append(f"manual: no text about {word} of {verb.name} {option.names[-1]}")


# --- completions ---


def check_shell(program, shell):
    file = str(source / "packaging" / "completions" / f"{program.name}.{shell}")

    def offers(line):
        return OFFERS[shell](file, f"{program.name} {line}")

    equal(f"{shell}, verbs", [verb.name for verb in program.verbs], [word for word in offers("") if not word.startswith("-")])
    equal(f"{shell}, options of the program", program.itself.option_names(), offers("-"))
    for verb in program.verbs:
        equal(f"{shell}, options of {verb.name}", verb.option_names(), offers(f"{verb.name} -"))
        for option in verb.valued():
            kind, words = kind_of(option.value, option.text)
            if kind in ("words", "list"):
                equal(f"{shell}, {verb.name} {option.names[0]}", words, offers(f"{verb.name} {option.names[0]} "))
        for place, positional in enumerate(verb.positionals):
            kind, words = kind_of(positional.name, positional.text)
            if kind == "words":
                before = "x " * place
                equal(f"{shell}, {verb.name} {positional.name}", words, offers(f"{verb.name} {before}"))
            if kind in ("files", "targets") and place == 0:
                with tempfile.TemporaryDirectory() as folder:
                    (pathlib.Path(folder) / "some.map").touch()
                    if not any("some.map" in word for word in offers(f"{verb.name} {folder}/so")):
                        faults.append(f"{shell}, {verb.name} {positional.name}: files are not offered")


def check_current(program):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([source / "tools" / "completions", path, path, folder], check=True, timeout=120)
        for written in sorted(pathlib.Path(folder).iterdir()):
            if written.read_text() != (source / "packaging" / "completions" / written.name).read_text():
                faults.append(f"packaging/completions/{written.name} is not what tools/completions writes: run it")


program = read_program(path)
if not program.verbs:
    faults.append(f"{path} --help lists no verbs")
{"manual": check_manual, "current": check_current}.get(what, lambda it: check_shell(it, what))(program)
print("\n".join(faults) or f"{program.name}, {what}: {len(program.verbs)} verbs, equal")
sys.exit(bool(faults))
