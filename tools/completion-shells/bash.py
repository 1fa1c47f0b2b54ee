# SPDX-License-Identifier: Apache-2.0
"""Completion for bash, with what bash-completion brings."""
from help_text import kind_of

SUFFIX = "bash"

HEAD = """# SPDX-License-Identifier: Apache-2.0
# Completion of {name} for bash. Written by tools/completions: change that.

# Words that begin like the current one. Of NAME=VALUE readline completes what follows the "=" alone.
_{id}_words() {{
  local word
  COMPREPLY=()
  for word in $1; do
    [[ $word == "$cur"* ]] || continue
    COMPREPLY+=("${{word#"${{cur%"${{cur##*=}}"}}"}}")
  done
  [[ ${{#COMPREPLY[@]}} -eq 1 && ${{COMPREPLY[0]}} == *= ]] && compopt -o nospace
}}

# One of a list after a comma.
_{id}_list() {{
  local before='' word all=''
  [[ $cur != *,* ]] || before=${{cur%,*}},
  for word in $1; do
    [[ ,$before == *,$word,* ]] || all+=" $before$word"
  done
  _{id}_words "$all"
  compopt -o nospace
}}

_{id}_files() {{
  mapfile -t COMPREPLY < <(compgen -f -- "$cur")
  compopt -o filenames
}}
"""

TARGETS = """
# Mounted volumes, by mount point and by map; loop devices; any file may be a map.
_{id}_targets() {{
  _{id}_files
  local source place type rest
  while read -r source place type rest; do
    [[ $type == fuse.{name} ]] || continue
    for rest in "$place" "$source"; do
      if [[ $rest == "$cur"* ]]; then COMPREPLY+=("$(printf '%b' "$rest")"); fi
    done
  done < /proc/self/mounts
}}
"""


def action(program_id, name, text):
    kind, words = kind_of(name, text)
    return {
        "files": f"_{program_id}_files",
        "targets": f"_{program_id}_targets",
        "words": f"_{program_id}_words '{' '.join(words)}'",
        "list": f"_{program_id}_list '{' '.join(words)}'",
        "none": "",
    }[kind]


def completion(program):
    ident = program.name.replace("-", "_")
    out = [HEAD.format(name=program.name, id=ident)]
    positionals = [place for verb in program.verbs for place in verb.positionals]
    if any(kind_of(place.name, place.text)[0] == "targets" for place in positionals):
        out.append(TARGETS.format(name=program.name, id=ident))
    names = [verb.name for verb in program.verbs] + program.itself.option_names()
    out.append(f"""
_{ident}() {{
  local cur prev words cword
  _get_comp_words_by_ref -n =: cur prev words cword
  if [[ $cword -eq 1 ]]; then
    if [[ $cur == */* ]]; then _{ident}_files; else _{ident}_words '{' '.join(names)}'; fi
    return
  fi
  local options='' valued=''
  case ${{words[1]}} in
""")
    for verb in program.verbs:
        valued = " ".join(name for option in verb.valued() for name in option.names)
        out.append(f"    {verb.name}) options='{' '.join(verb.option_names())}' valued=' {valued} ' ;;\n")
    out.append("""    *) return ;;
  esac
  case "${words[1]} $prev" in
""")
    for verb in program.verbs:
        for option in verb.valued():
            patterns = " | ".join(f"'{verb.name} {name}'" for name in option.names)
            act = action(ident, option.value, option.text)
            out.append(f"    {patterns}) {act + '; ' if act else ''}return ;;\n")
    out.append(f"""  esac
  if [[ $cur == -* ]]; then
    _{ident}_words "$options"
    return
  fi
  local place=0 i
  for ((i = 2; i < cword; ++i)); do
    if [[ ${{words[i]}} != -* && $valued != *" ${{words[i - 1]}} "* ]]; then ((++place)); fi
  done
  case "${{words[1]}} $place" in
""")
    for verb in program.verbs:
        for index, positional in enumerate(verb.positionals):
            act = action(ident, positional.name, positional.text)
            if not act:
                continue
            pattern = f"'{verb.name} '*" if positional.repeated and index == 0 else f"'{verb.name} {index}'"
            out.append(f"    {pattern}) {act} ;;\n")
    out.append(f"""  esac
}}
complete -F _{ident} {program.name}
""")
    return "".join(out)
