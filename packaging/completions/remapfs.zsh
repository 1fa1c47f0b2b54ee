#compdef remapfs
# SPDX-License-Identifier: Apache-2.0
# Completion of remapfs for zsh. Written by tools/completions: change that.

# Mounted volumes, by mount point and by map; any file may be a map.
_remapfs_targets() {
  local -a mounted
  mounted=(${(f)"$(while read -r source place type rest; do
    [[ $type != fuse.remapfs ]] || printf '%b\n%b\n' "$place" "$source"
  done < /proc/self/mounts)"})
  (( ! $#mounted )) || compadd -f -a mounted
  _files
}

_remapfs() {
  local -a verbs
  verbs=(
    'create:Make a volume of a primary and a spare'
    'mount:Serve a volume as a file'
    'unmount:Unmount a volume and wait until its map is closed'
    'attach:Mount a volume and set up a loop device over its disk'
    'detach:Undo attach\: take the loop device down and unmount'
    'status:Show how a volume is'
    'list:List the blocks that have an entry'
    'add:Move blocks to the spare now, data kept'
    'remove:Copy blocks back to the primary, verify, free their slots'
    'retest:Read blocks again where their data is'
    'mark-lost:Let blocks answer with an error until they are rewritten'
    'clear-lost:Make lost sectors valid that can be read again'
    'import:Enter what other tools know of the primary'\''s bad places'
    'export:Write the map in the format of another tool'
    'scrub:Read the whole disk and move what is weak'
    'spare:Add, list and retire spares, also while mounted'
    'replace:Copy to another primary while in use, and go on with it'
    'resume:Go on after a device was gone or a sync failed'
    'events:Show the history of a volume'
    'metrics:Show figures of volumes for Prometheus'
    'report:Make a page that shows the whole disk'
    'files:Tell which files lost sectors belong to'
    'smart:Ask the drives how they are, and judge them'
    'check:Compare everything that map and spares say; change nothing'
    'repair:Mend what is damaged on map and spares, without guessing'
    'recover:Rebuild a map that is lost from the spare alone'
    'backup:Copy the map, mounted or not, to a file of its own'
    'destroy:Remove a map and free its spares, without asking'
    'upgrade:Have this program go on with a mounted volume'
  )
  if (( CURRENT == 2 )); then
    if [[ $words[2] == -* ]]; then
      _arguments '(-h --help)'{-h,--help}'[Print this help message and exit]' '--version[Show the version and end]'
    else
      _describe -t verbs verb verbs
    fi
    return
  fi
  local verb=$words[2]
  shift words
  (( --CURRENT ))
  case $verb in
    create)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '--primary[The disk or image to keep in use; its contents stay]:PATH:_files' \
        '--spare[File or device for the blocks that go bad; overwritten]:PATH:_files' \
        '--spare-size[Make the spare, a file of this size, fully allocated]:SIZE: ' \
        '--reserve[Instead of --spare\: so much of the primary'\''s end; the volume is that much smaller]:SIZE: ' \
        '--block-size[Unit of remapping, 512 to 32768; default the larger of 4096 and the primary'\''s physical block]:N: ' \
        '--label[A name for people]:TEXT: ' \
        '--force[Overwrite a spare, or the end of a primary, that carries a file system or belongs to another volume; never an existing map]' \
        '1:MAP:_files'
      ;;
    mount)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '(-f --foreground)'{-f,--foreground}'[Stay in the foreground and log to the terminal]' \
        '-o[Comma-separated\: ro, degraded (read-only, a spare may be missing), on-loss=fail|wait, allow_other, engine=auto|io_uring|blocking, workers=N, and what fstab may say]:OPTIONS:_values -s , options ro degraded on-loss=fail on-loss=wait allow_other engine=auto engine=io_uring engine=blocking workers=' \
        '1:MAP:_files' \
        '2:MOUNTPOINT:_files'
      ;;
    unmount)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '--force[Also when the daemon has died, or its users do not let go\: they get errors from then on; what was acknowledged is kept. Never under an attached loop device]' \
        '1:TARGET:_remapfs_targets'
      ;;
    attach)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '--partscan[Look for partitions on the loop device]' \
        '--read-only[Mount and attach read-only]' \
        '1:MAP:_files' \
        '2:MOUNTPOINT:_files'
      ;;
    detach)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '1:TARGET:_remapfs_targets'
      ;;
    status)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '(-J --json)'{-J,--json}'[As JSON]' \
        '--watch[Again every 2 seconds; on a terminal the whole screen, with -J one object a line]' \
        '1:TARGET:_remapfs_targets'
      ;;
    list)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '(-J --json)'{-J,--json}'[As JSON\: every column unless -o chooses, bytes as integers]' \
        '(-o --output)'{-o,--output}'[Comma-separated, of\: block,offset,state,spare_id,slot,valid_mask,written_mask,sequence,cause,error_count,created_at,updated_at]:COLUMNS:_values -s , columns block offset state spare_id slot valid_mask written_mask sequence cause error_count created_at updated_at' \
        '--noheadings[Without the line of headings]' \
        '--bytes[Offsets in bytes instead of rounded units]' \
        '1:TARGET:_remapfs_targets'
      ;;
    add)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '1:TARGET:_remapfs_targets' \
        '*:BLOCK: '
      ;;
    remove)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '1:TARGET:_remapfs_targets' \
        '*:BLOCK: '
      ;;
    retest)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '1:TARGET:_remapfs_targets' \
        '*:BLOCK: '
      ;;
    mark-lost)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '1:TARGET:_remapfs_targets' \
        '*:BLOCK: '
      ;;
    clear-lost)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '1:TARGET:_remapfs_targets' \
        '*:BLOCK: '
      ;;
    import)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '--format[badblocks, ddrescue or csv]:FORMAT\:{badblocks,ddrescue,csv}:(badblocks ddrescue csv)' \
        '--block-size[Unit of a badblocks list, required there; of a CSV file that does not tell]:SIZE: ' \
        '--as[What the blocks of a badblocks list become\: lost (default) or weak]:STATE\:{lost,weak}:(lost weak)' \
        '(-J --json)'{-J,--json}'[The result as JSON]' \
        '1:TARGET:_remapfs_targets' \
        '2:FILE:_files'
      ;;
    export)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '--format[badblocks, ddrescue, dmsetup or csv]:FORMAT\:{badblocks,ddrescue,dmsetup,csv}:(badblocks ddrescue dmsetup csv)' \
        '--block-size[Unit of a badblocks list; default\: the volume'\''s block]:SIZE: ' \
        '1:TARGET:_remapfs_targets' \
        '2:FILE:_files'
      ;;
    scrub)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '--rate[Read at most so much a second, as 64M or 64M/s; 0\: no limit]:SIZE: ' \
        '(-J --json)'{-J,--json}'[How the scrub is, as JSON]' \
        '1:TARGET:_remapfs_targets' \
        '2:ACTION:(start pause resume stop status)'
      ;;
    spare)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '--size[add\: make a file of this size, fully allocated]:SIZE: ' \
        '--force[add\: overwrite what carries a file system or belongs to another volume]' \
        '(-J --json)'{-J,--json}'[list, retire\: as JSON]' \
        '1:TARGET:_remapfs_targets' \
        '2:ACTION:(add list retire)' \
        '3:PATH:_files'
      ;;
    replace)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '--rate[Copy at most so much a second, as 64M or 64M/s; 0\: no limit]:SIZE: ' \
        '--force[Overwrite what carries a file system or is a spare]' \
        '--status[How the replacement under way is, or the last one]' \
        '--stop[End the one that is under way]' \
        '(-J --json)'{-J,--json}'[How the replacement is, as JSON]' \
        '1:TARGET:_remapfs_targets' \
        '2:NEWPRIMARY:_files'
      ;;
    resume)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '1:TARGET:_remapfs_targets'
      ;;
    events)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '(-J --json)'{-J,--json}'[As JSON]' \
        '--follow[Go on as events come; with -J one object a line]' \
        '1:TARGET:_remapfs_targets'
      ;;
    metrics)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '--all[Every volume that this user has mounted]' \
        '(-o --output)'{-o,--output}'[Into a file for node_exporter, which is replaced as a whole]:FILE:_files' \
        '*:TARGET:_remapfs_targets'
      ;;
    report)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '(-o --output)'{-o,--output}'[The page, which is replaced as a whole]:FILE:_files' \
        '(-J --json)'{-J,--json}'[What the page is made of, as JSON]' \
        '1:TARGET:_remapfs_targets'
      ;;
    files)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '(-J --json)'{-J,--json}'[As JSON]' \
        '1:TARGET:_remapfs_targets'
      ;;
    smart)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '(-J --json)'{-J,--json}'[As JSON, with the readings that the map keeps]' \
        '1:TARGET:_remapfs_targets'
      ;;
    check)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '1:MAP:_files'
      ;;
    repair)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '1:MAP:_files'
      ;;
    recover)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '--primary[The primary of the volume]:PATH:_files' \
        '--spare[The spare of the volume, which may be its primary; each one, if there are several]:PATH:_files' \
        '--reserve[The spare is so much of the end of its device, the primary unless --spare names it]:SIZE: ' \
        '--accept-stale[Go on where nothing vouches for what the spare says\: blocks may be read with old or wrong contents]' \
        '1:NEWMAP:_files'
      ;;
    backup)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '1:TARGET:_remapfs_targets' \
        '2:FILE:_files'
      ;;
    destroy)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '1:MAP:_files'
      ;;
    upgrade)
      _arguments \
        '(-h --help)'{-h,--help}'[Print this help message and exit]' \
        '--all[Every volume that this user has mounted]' \
        '--program[Another remapfs than the one that is run here]:PATH:_files' \
        '1:TARGET:_remapfs_targets'
      ;;
  esac
}

_remapfs "$@"
