# SPDX-License-Identifier: Apache-2.0
"""Completion for fish."""
from help_text import kind_of

SUFFIX = "fish"


def quoted(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def values(program_id, name, text):
    """What complete(1) is told about a value or positional."""
    kind, words = kind_of(name, text)
    return {
        "files": " -F",
        "targets": f" -F -a '(__{program_id}_targets)'",
        "words": f" -f -a {quoted(' '.join(words))}",
        "list": f" -f -a \"(__fish_append , {' '.join(words)})\"",
        "none": "",
    }[kind]


def option_line(program, when, option):
    ident = program.name.replace("-", "_")
    names = "".join(f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}" for name in option.names)
    value = f" -r{values(ident, option.value, option.text)}" if option.value else ""
    return f"complete -c {program.name} -n {quoted(when)}{names}{value} -d {quoted(option.text)}\n"


def completion(program):
    ident = program.name.replace("-", "_")
    valued = " ".join(sorted({name for verb in program.verbs for option in verb.valued() for name in option.names}))
    out = [f"""# SPDX-License-Identifier: Apache-2.0
# Completion of {program.name} for fish. Written by tools/completions: change that.

# Mounted volumes, by mount point and by map; any file may be a map.
function __{ident}_targets
    while read -l -d ' ' source place type rest
        if test "$type" = fuse.{program.name}
            printf '%b\\n%b\\n' $place $source
        end
    end </proc/self/mounts
end

# Whether the next word is the PLACE-th argument of VERB, or a later one: (verb, place, "=" or "+")
function __{ident}_at
    set -l words (commandline -opc)
    test (count $words) -ge 2 -a "$words[2]" = $argv[1]; or return
    set -l place 0
    set -l value no
    for word in $words[3..-1]
        if test $value = yes
            set value no
        else if contains -- $word {valued}
            set value yes
        else if not string match -q -- '-*' $word
            set place (math $place + 1)
        end
    end
    test $place -eq $argv[2]; or test $argv[3] = + -a $place -gt $argv[2]
end

complete -c {program.name} -f
"""]
    for option in program.itself.options:
        out.append(option_line(program, "__fish_use_subcommand", option))
    for verb in program.verbs:
        out.append(f"\ncomplete -c {program.name} -n __fish_use_subcommand -a {verb.name} -d {quoted(verb.text)}\n")
        when = f"__fish_seen_subcommand_from {verb.name}"
        for option in verb.options:
            out.append(option_line(program, when, option))
        for place, positional in enumerate(verb.positionals):
            offered = values(ident, positional.name, positional.text)
            if offered:
                here = f"__{ident}_at {verb.name} {place} {'+' if positional.repeated else '='}"
                out.append(f"complete -c {program.name} -n {quoted(here)}{offered}\n")
    return "".join(out)
