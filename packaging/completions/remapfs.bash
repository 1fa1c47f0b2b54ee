# SPDX-License-Identifier: Apache-2.0
# Completion of remapfs for bash. Written by tools/completions: change that.

# Words that begin like the current one. Of NAME=VALUE readline completes what follows the "=" alone.
_remapfs_words() {
  local word
  COMPREPLY=()
  for word in $1; do
    [[ $word == "$cur"* ]] || continue
    COMPREPLY+=("${word#"${cur%"${cur##*=}"}"}")
  done
  [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}

# One of a list after a comma.
_remapfs_list() {
  local before='' word all=''
  [[ $cur != *,* ]] || before=${cur%,*},
  for word in $1; do
    [[ ,$before == *,$word,* ]] || all+=" $before$word"
  done
  _remapfs_words "$all"
  compopt -o nospace
}

_remapfs_files() {
  mapfile -t COMPREPLY < <(compgen -f -- "$cur")
  compopt -o filenames
}

# Mounted volumes, by mount point and by map; loop devices; any file may be a map.
_remapfs_targets() {
  _remapfs_files
  local source place type rest
  while read -r source place type rest; do
    [[ $type == fuse.remapfs ]] || continue
    for rest in "$place" "$source"; do
      if [[ $rest == "$cur"* ]]; then COMPREPLY+=("$(printf '%b' "$rest")"); fi
    done
  done < /proc/self/mounts
}

_remapfs() {
  local cur prev words cword
  _get_comp_words_by_ref -n =: cur prev words cword
  if [[ $cword -eq 1 ]]; then
    if [[ $cur == */* ]]; then _remapfs_files; else _remapfs_words 'create mount unmount attach detach status list add remove retest mark-lost clear-lost import export scrub spare replace resume events metrics report files smart check repair recover backup destroy upgrade -h --help --version'; fi
    return
  fi
  local options='' valued=''
  case ${words[1]} in
    create) options='-h --help --primary --spare --spare-size --reserve --block-size --label --force' valued=' --primary --spare --spare-size --reserve --block-size --label ' ;;
    mount) options='-h --help -f --foreground -o' valued=' -o ' ;;
    unmount) options='-h --help --force' valued='  ' ;;
    attach) options='-h --help --partscan --read-only' valued='  ' ;;
    detach) options='-h --help' valued='  ' ;;
    status) options='-h --help -J --json --watch' valued='  ' ;;
    list) options='-h --help -J --json -o --output --noheadings --bytes' valued=' -o --output ' ;;
    add) options='-h --help' valued='  ' ;;
    remove) options='-h --help' valued='  ' ;;
    retest) options='-h --help' valued='  ' ;;
    mark-lost) options='-h --help' valued='  ' ;;
    clear-lost) options='-h --help' valued='  ' ;;
    import) options='-h --help --format --block-size --as -J --json' valued=' --format --block-size --as ' ;;
    export) options='-h --help --format --block-size' valued=' --format --block-size ' ;;
    scrub) options='-h --help --rate -J --json' valued=' --rate ' ;;
    spare) options='-h --help --size --force -J --json' valued=' --size ' ;;
    replace) options='-h --help --rate --force --status --stop -J --json' valued=' --rate ' ;;
    resume) options='-h --help' valued='  ' ;;
    events) options='-h --help -J --json --follow' valued='  ' ;;
    metrics) options='-h --help --all -o --output' valued=' -o --output ' ;;
    report) options='-h --help -o --output -J --json' valued=' -o --output ' ;;
    files) options='-h --help -J --json' valued='  ' ;;
    smart) options='-h --help -J --json' valued='  ' ;;
    check) options='-h --help' valued='  ' ;;
    repair) options='-h --help' valued='  ' ;;
    recover) options='-h --help --primary --spare --reserve --accept-stale' valued=' --primary --spare --reserve ' ;;
    backup) options='-h --help' valued='  ' ;;
    destroy) options='-h --help' valued='  ' ;;
    upgrade) options='-h --help --all --program' valued=' --program ' ;;
    *) return ;;
  esac
  case "${words[1]} $prev" in
    'create --primary') _remapfs_files; return ;;
    'create --spare') _remapfs_files; return ;;
    'create --spare-size') return ;;
    'create --reserve') return ;;
    'create --block-size') return ;;
    'create --label') return ;;
    'mount -o') _remapfs_list 'ro degraded on-loss=fail on-loss=wait allow_other engine=auto engine=io_uring engine=blocking workers='; return ;;
    'list -o' | 'list --output') _remapfs_list 'block offset state spare_id slot valid_mask written_mask sequence cause error_count created_at updated_at'; return ;;
    'import --format') _remapfs_words 'badblocks ddrescue csv'; return ;;
    'import --block-size') return ;;
    'import --as') _remapfs_words 'lost weak'; return ;;
    'export --format') _remapfs_words 'badblocks ddrescue dmsetup csv'; return ;;
    'export --block-size') return ;;
    'scrub --rate') return ;;
    'spare --size') return ;;
    'replace --rate') return ;;
    'metrics -o' | 'metrics --output') _remapfs_files; return ;;
    'report -o' | 'report --output') _remapfs_files; return ;;
    'recover --primary') _remapfs_files; return ;;
    'recover --spare') _remapfs_files; return ;;
    'recover --reserve') return ;;
    'upgrade --program') _remapfs_files; return ;;
  esac
  if [[ $cur == -* ]]; then
    _remapfs_words "$options"
    return
  fi
  local place=0 i
  for ((i = 2; i < cword; ++i)); do
    if [[ ${words[i]} != -* && $valued != *" ${words[i - 1]} "* ]]; then ((++place)); fi
  done
  case "${words[1]} $place" in
    'create 0') _remapfs_files ;;
    'mount 0') _remapfs_files ;;
    'mount 1') _remapfs_files ;;
    'unmount 0') _remapfs_targets ;;
    'attach 0') _remapfs_files ;;
    'attach 1') _remapfs_files ;;
    'detach 0') _remapfs_targets ;;
    'status 0') _remapfs_targets ;;
    'list 0') _remapfs_targets ;;
    'add 0') _remapfs_targets ;;
    'remove 0') _remapfs_targets ;;
    'retest 0') _remapfs_targets ;;
    'mark-lost 0') _remapfs_targets ;;
    'clear-lost 0') _remapfs_targets ;;
    'import 0') _remapfs_targets ;;
    'import 1') _remapfs_files ;;
    'export 0') _remapfs_targets ;;
    'export 1') _remapfs_files ;;
    'scrub 0') _remapfs_targets ;;
    'scrub 1') _remapfs_words 'start pause resume stop status' ;;
    'spare 0') _remapfs_targets ;;
    'spare 1') _remapfs_words 'add list retire' ;;
    'spare 2') _remapfs_files ;;
    'replace 0') _remapfs_targets ;;
    'replace 1') _remapfs_files ;;
    'resume 0') _remapfs_targets ;;
    'events 0') _remapfs_targets ;;
    'metrics '*) _remapfs_targets ;;
    'report 0') _remapfs_targets ;;
    'files 0') _remapfs_targets ;;
    'smart 0') _remapfs_targets ;;
    'check 0') _remapfs_files ;;
    'repair 0') _remapfs_files ;;
    'recover 0') _remapfs_files ;;
    'backup 0') _remapfs_targets ;;
    'backup 1') _remapfs_files ;;
    'destroy 0') _remapfs_files ;;
    'upgrade 0') _remapfs_targets ;;
  esac
}
complete -F _remapfs remapfs
