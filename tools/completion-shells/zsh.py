# SPDX-License-Identifier: Apache-2.0
"""Completion for zsh."""
from help_text import kind_of

SUFFIX = "zsh"


def quoted(text):
    """Text inside '[...]' or ':...:' of a specification inside single quotes."""
    for char in "\\[]:":
        text = text.replace(char, "\\" + char)
    return text.replace("'", "'\\''")


def action(program_id, name, text):
    kind, words = kind_of(name, text)
    listed = " ".join(words)
    return {
        "files": "_files",
        "targets": f"_{program_id}_targets",
        "words": f"({listed})",
        "list": f"_values -s , {name.lower()} {listed}",
        "none": " ",
    }[kind]


def option_spec(program_id, option):
    value = f":{quoted(option.value)}:{action(program_id, option.value, option.text)}" if option.value else ""
    text = f"[{quoted(option.text)}]{value}"
    if len(option.names) == 1:
        return f"'{option.names[0]}{text}'"
    return f"'({' '.join(option.names)})'{{{','.join(option.names)}}}'{text}'"


def positional_spec(program_id, index, positional):
    place = "*" if positional.repeated else str(index + 1)
    return f"'{place}:{quoted(positional.name)}:{action(program_id, positional.name, positional.text)}'"


def completion(program):
    ident = program.name.replace("-", "_")
    out = [f"""#compdef {program.name}
# SPDX-License-Identifier: Apache-2.0
# Completion of {program.name} for zsh. Written by tools/completions: change that.

# Mounted volumes, by mount point and by map; any file may be a map.
_{ident}_targets() {{
  local -a mounted
  mounted=(${{(f)"$(while read -r source place type rest; do
    [[ $type != fuse.{program.name} ]] || printf '%b\\n%b\\n' "$place" "$source"
  done < /proc/self/mounts)"}})
  (( ! $#mounted )) || compadd -f -a mounted
  _files
}}

_{ident}() {{
  local -a verbs
  verbs=(
"""]
    for verb in program.verbs:
        out.append(f"    '{verb.name}:{quoted(verb.text)}'\n")
    itself = " ".join(option_spec(ident, option) for option in program.itself.options)
    out.append(f"""  )
  if (( CURRENT == 2 )); then
    if [[ $words[2] == -* ]]; then
      _arguments {itself}
    else
      _describe -t verbs verb verbs
    fi
    return
  fi
  local verb=$words[2]
  shift words
  (( --CURRENT ))
  case $verb in
""")
    for verb in program.verbs:
        specs = [option_spec(ident, option) for option in verb.options]
        specs += [positional_spec(ident, i, positional) for i, positional in enumerate(verb.positionals)]
        lines = " \\\n        ".join(specs)
        out.append(f"    {verb.name})\n      _arguments \\\n        {lines}\n      ;;\n")
    out.append(f"""  esac
}}

_{ident} "$@"
""")
    return "".join(out)
