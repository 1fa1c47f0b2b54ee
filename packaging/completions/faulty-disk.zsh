#compdef faulty-disk
# SPDX-License-Identifier: Apache-2.0
# Completion of faulty-disk for zsh. Written by tools/completions: change that.

# Mounted volumes, by mount point and by map; any file may be a map.
_faulty_disk_targets() {
  local -a mounted
  mounted=(${(f)"$(while read -r source place type rest; do
    [[ $type != fuse.faulty-disk ]] || printf '%b\n%b\n' "$place" "$source"
  done < /proc/self/mounts)"})
  (( ! $#mounted )) || compadd -f -a mounted
  _files
}

_faulty_disk() {
  local -a verbs
  verbs=(
    'mount:Serve IMAGE as a faulty disk'
    'set:Add rules; prints their ids'
    'clear:Remove rules'
    'list:Show the rules and what each has done'
    'stats:Show what the disk has done'
    'gone:Take the disk away, or give it back'
    'unmount:Unmount and wait until the process has ended'
  )
  if (( CURRENT == 2 )); then
    if [[ $words[2] == -* ]]; then
      _arguments '(-h --help)'{-h,--help}'[Print this help message and exit]'
    else
      _describe -t verbs verb verbs
    fi
    return
  fi
  local verb=$words[2]
  shift words
  (( --CURRENT ))
  case $verb in
    mount)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '--faults[File of rules, one a line]:FILE:_files' \
        '--sector-size[Physical sector\: what fails as a whole]:UINT\:{512,4096}:(512 4096)' \
        '(-f --foreground)'{-f,--foreground}'[Stay in the foreground]' \
        '--allow-other[Let other users open the disk]' \
        '1:IMAGE:_files' \
        '2:MOUNTPOINT:_files'
      ;;
    set)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '1:DISK:_faulty_disk_targets' \
        '*:RULE: '
      ;;
    clear)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '1:DISK:_faulty_disk_targets' \
        '*:ID: '
      ;;
    list)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '(-J --json)'{-J,--json}'[Print JSON]' \
        '1:DISK:_faulty_disk_targets'
      ;;
    stats)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '(-J --json)'{-J,--json}'[Print JSON]' \
        '1:DISK:_faulty_disk_targets'
      ;;
    gone)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '--error[What every access answers (default ENODEV)]:NAME: ' \
        '1:DISK:_faulty_disk_targets' \
        '2:STATE:(on off)'
      ;;
    unmount)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '1:DISK:_faulty_disk_targets'
      ;;
  esac
}

_faulty_disk "$@"
