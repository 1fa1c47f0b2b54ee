# SPDX-License-Identifier: Apache-2.0
# Completion of faulty-disk for bash. Written by tools/completions: change that.

# Words that begin like the current one. Of NAME=VALUE readline completes what follows the "=" alone.
_faulty_disk_words() {
  local word
  COMPREPLY=()
  for word in $1; do
    [[ $word == "$cur"* ]] || continue
    COMPREPLY+=("${word#"${cur%"${cur##*=}"}"}")
  done
  [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}

# One of a list after a comma.
_faulty_disk_list() {
  local before='' word all=''
  [[ $cur != *,* ]] || before=${cur%,*},
  for word in $1; do
    [[ ,$before == *,$word,* ]] || all+=" $before$word"
  done
  _faulty_disk_words "$all"
  compopt -o nospace
}

_faulty_disk_files() {
  mapfile -t COMPREPLY < <(compgen -f -- "$cur")
  compopt -o filenames
}

# Mounted volumes, by mount point and by map; loop devices; any file may be a map.
_faulty_disk_targets() {
  _faulty_disk_files
  local source place type rest
  while read -r source place type rest; do
    [[ $type == fuse.faulty-disk ]] || continue
    for rest in "$place" "$source"; do
      if [[ $rest == "$cur"* ]]; then COMPREPLY+=("$(printf '%b' "$rest")"); fi
    done
  done < /proc/self/mounts
}

_faulty_disk() {
  local cur prev words cword
  _get_comp_words_by_ref -n =: cur prev words cword
  if [[ $cword -eq 1 ]]; then
    if [[ $cur == */* ]]; then _faulty_disk_files; else _faulty_disk_words 'mount set clear list stats gone unmount -h --help'; fi
    return
  fi
  local options='' valued=''
  case ${words[1]} in
    mount) options='-h --help --faults --sector-size -f --foreground --allow-other' valued=' --faults --sector-size ' ;;
    set) options='-h --help' valued='  ' ;;
    clear) options='-h --help' valued='  ' ;;
    list) options='-h --help -J --json' valued='  ' ;;
    stats) options='-h --help -J --json' valued='  ' ;;
    gone) options='-h --help --error' valued=' --error ' ;;
    unmount) options='-h --help' valued='  ' ;;
    *) return ;;
  esac
  case "${words[1]} $prev" in
    'mount --faults') _faulty_disk_files; return ;;
    'mount --sector-size') _faulty_disk_words '512 4096'; return ;;
    'gone --error') return ;;
  esac
  if [[ $cur == -* ]]; then
    _faulty_disk_words "$options"
    return
  fi
  local place=0 i
  for ((i = 2; i < cword; ++i)); do
    if [[ ${words[i]} != -* && $valued != *" ${words[i - 1]} "* ]]; then ((++place)); fi
  done
  case "${words[1]} $place" in
    'mount 0') _faulty_disk_files ;;
    'mount 1') _faulty_disk_files ;;
    'set 0') _faulty_disk_targets ;;
    'clear 0') _faulty_disk_targets ;;
    'list 0') _faulty_disk_targets ;;
    'stats 0') _faulty_disk_targets ;;
    'gone 0') _faulty_disk_targets ;;
    'gone 1') _faulty_disk_words 'on off' ;;
    'unmount 0') _faulty_disk_targets ;;
  esac
}
complete -F _faulty_disk faulty-disk
