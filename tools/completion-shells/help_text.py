# SPDX-License-Identifier: Apache-2.0
"""What a program of ours takes, read from its --help."""
import dataclasses
import os
import re
import subprocess


@dataclasses.dataclass
class Option:
    names: list  # ["-J", "--json"]
    value: str  # what it wants, "PATH"; empty: nothing
    text: str


@dataclasses.dataclass
class Positional:
    name: str
    text: str
    repeated: bool


@dataclasses.dataclass
class Verb:
    name: str  # empty: the program itself
    text: str
    options: list
    positionals: list

    def option_names(self):
        return [name for option in self.options for name in option.names]

    def valued(self):
        return [option for option in self.options if option.value]


@dataclasses.dataclass
class Program:
    name: str
    itself: Verb
    verbs: list


def help_of(path, *verb):
    done = subprocess.run([path, *verb, "--help"], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def entries(text, heading):
    """The (left, right) columns of the list under a heading."""
    found = []
    inside = False
    for line in text.splitlines():
        if not line.startswith(" "):
            inside = line == heading + ":"
        elif inside and not line.startswith("   "):
            # Two spaces at least are between the columns; a left side that is too long has its text on the next line.
            left, _, right = line.strip().partition("  ")
            found.append([left, right.strip()])
        elif inside and found and not found[-1][1]:
            found[-1][1] = line.strip()
    return found


def read_verb(path, name, text):
    said = help_of(path, name) if name else help_of(path)
    options = []
    for left, right in entries(said, "Options"):
        names, _, value = left.partition(" ")
        value = re.sub(r"\s*(\bREQUIRED\b|\.\.\.|=\S+).*", "", value).strip()
        options.append(Option(names.split(","), value, right))
    positionals = []
    for left, right in entries(said, "Positionals"):
        value = re.search(r"\{[^}]+\}", left)
        positionals.append(Positional(left.split()[0], f"{right} {value[0] if value else ''}".strip(), " ..." in left))
    return Verb(name, text, options, positionals)


def read_program(path):
    verbs = [read_verb(path, name, text) for name, text in entries(help_of(path), "Subcommands")]
    return Program(os.path.basename(path), read_verb(path, "", ""), verbs)


def words_of(value, text):
    """The words that a value is one of, when it is: from "a|b", "{a,b}" or "of: a,b" in the text."""
    if "|" in value:
        return value.split("|")
    braces = re.search(r"\{([^}]+)\}", f"{value} {text}")
    if braces:
        return braces[1].split(",")
    listed = re.search(r"\bof: (\S+)", text)
    return listed[1].split(",") if listed else []


def mount_options_of(text):
    """The options in "Comma-separated: ro, degraded (read-only, ...), on-loss=fail|wait, workers=N, and what ..."."""
    plain = re.sub(r"\([^)]*\)", "", text.partition("Comma-separated:")[2])
    options = []
    for word in (part.strip() for part in plain.split(",")):
        name, equals, values = word.partition("=")
        if not re.fullmatch(r"[a-z_-]+", name):
            continue
        if not equals:
            options.append(name)
        elif re.fullmatch(r"[A-Z]+", values):
            options.append(name + "=")
        else:
            options += [f"{name}={value}" for value in values.split("|")]
    return options


# How a value of this name is completed; names that are not here stand for numbers and free text.
FILES = {"MAP", "NEWMAP", "PATH", "FILE", "IMAGE", "NEWPRIMARY", "MOUNTPOINT"}


def kind_of(name, text):
    """("files"|"targets"|"words"|"list"|"none", words) of a value or positional."""
    if name == "OPTIONS":
        return "list", mount_options_of(text)
    words = words_of(name, text)
    if words:
        return ("list" if name == "COLUMNS" else "words"), words
    if name in ("TARGET", "DISK"):
        return "targets", []
    return ("files" if name in FILES else "none"), []
