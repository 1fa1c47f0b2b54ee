# SPDX-License-Identifier: Apache-2.0
# Completion of remapfs for fish. Written by tools/completions: change that.

# Mounted volumes, by mount point and by map; any file may be a map.
function __remapfs_targets
    while read -l -d ' ' source place type rest
        if test "$type" = fuse.remapfs
            printf '%b\n%b\n' $place $source
        end
    end </proc/self/mounts
end

# Whether the next word is the PLACE-th argument of VERB, or a later one: (verb, place, "=" or "+")
function __remapfs_at
    set -l words (commandline -opc)
    test (count $words) -ge 2 -a "$words[2]" = $argv[1]; or return
    set -l place 0
    set -l value no
    for word in $words[3..-1]
        if test $value = yes
            set value no
        else if contains -- $word --as --block-size --format --label --output --primary --program --rate --reserve --size --spare --spare-size -o
            set value yes
        else if not string match -q -- '-*' $word
            set place (math $place + 1)
        end
    end
    test $place -eq $argv[2]; or test $argv[3] = + -a $place -gt $argv[2]
end

complete -c remapfs -f
complete -c remapfs -n '__fish_use_subcommand' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__fish_use_subcommand' -l version -d 'Show the version and end'

complete -c remapfs -n __fish_use_subcommand -a create -d 'Make a volume of a primary and a spare'
complete -c remapfs -n '__fish_seen_subcommand_from create' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__fish_seen_subcommand_from create' -l primary -r -F -d 'The disk or image to keep in use; its contents stay'
complete -c remapfs -n '__fish_seen_subcommand_from create' -l spare -r -F -d 'File or device for the blocks that go bad; overwritten'
complete -c remapfs -n '__fish_seen_subcommand_from create' -l spare-size -r -d 'Make the spare, a file of this size, fully allocated'
complete -c remapfs -n '__fish_seen_subcommand_from create' -l reserve -r -d 'Instead of --spare: so much of the primary\'s end; the volume is that much smaller'
complete -c remapfs -n '__fish_seen_subcommand_from create' -l block-size -r -d 'Unit of remapping, 512 to 32768; default the larger of 4096 and the primary\'s physical block'
complete -c remapfs -n '__fish_seen_subcommand_from create' -l label -r -d 'A name for people'
complete -c remapfs -n '__fish_seen_subcommand_from create' -l force -d 'Overwrite a spare, or the end of a primary, that carries a file system or belongs to another volume; never an existing map'
complete -c remapfs -n '__remapfs_at create 0 =' -F

complete -c remapfs -n __fish_use_subcommand -a mount -d 'Serve a volume as a file'
complete -c remapfs -n '__fish_seen_subcommand_from mount' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__fish_seen_subcommand_from mount' -s f -l foreground -d 'Stay in the foreground and log to the terminal'
complete -c remapfs -n '__fish_seen_subcommand_from mount' -s o -r -f -a "(__fish_append , ro degraded on-loss=fail on-loss=wait allow_other engine=auto engine=io_uring engine=blocking workers=)" -d 'Comma-separated: ro, degraded (read-only, a spare may be missing), on-loss=fail|wait, allow_other, engine=auto|io_uring|blocking, workers=N, and what fstab may say'
complete -c remapfs -n '__remapfs_at mount 0 =' -F
complete -c remapfs -n '__remapfs_at mount 1 =' -F

complete -c remapfs -n __fish_use_subcommand -a unmount -d 'Unmount a volume and wait until its map is closed'
complete -c remapfs -n '__fish_seen_subcommand_from unmount' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__fish_seen_subcommand_from unmount' -l force -d 'Also when the daemon has died, or its users do not let go: they get errors from then on; what was acknowledged is kept. Never under an attached loop device'
complete -c remapfs -n '__remapfs_at unmount 0 =' -F -a '(__remapfs_targets)'

complete -c remapfs -n __fish_use_subcommand -a attach -d 'Mount a volume and set up a loop device over its disk'
complete -c remapfs -n '__fish_seen_subcommand_from attach' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__fish_seen_subcommand_from attach' -l partscan -d 'Look for partitions on the loop device'
complete -c remapfs -n '__fish_seen_subcommand_from attach' -l read-only -d 'Mount and attach read-only'
complete -c remapfs -n '__remapfs_at attach 0 =' -F
complete -c remapfs -n '__remapfs_at attach 1 =' -F

complete -c remapfs -n __fish_use_subcommand -a detach -d 'Undo attach: take the loop device down and unmount'
complete -c remapfs -n '__fish_seen_subcommand_from detach' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__remapfs_at detach 0 =' -F -a '(__remapfs_targets)'

complete -c remapfs -n __fish_use_subcommand -a status -d 'Show how a volume is'
complete -c remapfs -n '__fish_seen_subcommand_from status' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__fish_seen_subcommand_from status' -s J -l json -d 'As JSON'
complete -c remapfs -n '__fish_seen_subcommand_from status' -l watch -d 'Again every 2 seconds; on a terminal the whole screen, with -J one object a line'
complete -c remapfs -n '__remapfs_at status 0 =' -F -a '(__remapfs_targets)'

complete -c remapfs -n __fish_use_subcommand -a list -d 'List the blocks that have an entry'
complete -c remapfs -n '__fish_seen_subcommand_from list' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__fish_seen_subcommand_from list' -s J -l json -d 'As JSON: every column unless -o chooses, bytes as integers'
complete -c remapfs -n '__fish_seen_subcommand_from list' -s o -l output -r -f -a "(__fish_append , block offset state spare_id slot valid_mask written_mask sequence cause error_count created_at updated_at)" -d 'Comma-separated, of: block,offset,state,spare_id,slot,valid_mask,written_mask,sequence,cause,error_count,created_at,updated_at'
complete -c remapfs -n '__fish_seen_subcommand_from list' -l noheadings -d 'Without the line of headings'
complete -c remapfs -n '__fish_seen_subcommand_from list' -l bytes -d 'Offsets in bytes instead of rounded units'
complete -c remapfs -n '__remapfs_at list 0 =' -F -a '(__remapfs_targets)'

complete -c remapfs -n __fish_use_subcommand -a add -d 'Move blocks to the spare now, data kept'
complete -c remapfs -n '__fish_seen_subcommand_from add' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__remapfs_at add 0 =' -F -a '(__remapfs_targets)'

complete -c remapfs -n __fish_use_subcommand -a remove -d 'Copy blocks back to the primary, verify, free their slots'
complete -c remapfs -n '__fish_seen_subcommand_from remove' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__remapfs_at remove 0 =' -F -a '(__remapfs_targets)'

complete -c remapfs -n __fish_use_subcommand -a retest -d 'Read blocks again where their data is'
complete -c remapfs -n '__fish_seen_subcommand_from retest' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__remapfs_at retest 0 =' -F -a '(__remapfs_targets)'

complete -c remapfs -n __fish_use_subcommand -a mark-lost -d 'Let blocks answer with an error until they are rewritten'
complete -c remapfs -n '__fish_seen_subcommand_from mark-lost' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__remapfs_at mark-lost 0 =' -F -a '(__remapfs_targets)'

complete -c remapfs -n __fish_use_subcommand -a clear-lost -d 'Make lost sectors valid that can be read again'
complete -c remapfs -n '__fish_seen_subcommand_from clear-lost' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__remapfs_at clear-lost 0 =' -F -a '(__remapfs_targets)'

complete -c remapfs -n __fish_use_subcommand -a import -d 'Enter what other tools know of the primary\'s bad places'
complete -c remapfs -n '__fish_seen_subcommand_from import' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__fish_seen_subcommand_from import' -l format -r -f -a 'badblocks ddrescue csv' -d 'badblocks, ddrescue or csv'
complete -c remapfs -n '__fish_seen_subcommand_from import' -l block-size -r -d 'Unit of a badblocks list, required there; of a CSV file that does not tell'
complete -c remapfs -n '__fish_seen_subcommand_from import' -l as -r -f -a 'lost weak' -d 'What the blocks of a badblocks list become: lost (default) or weak'
complete -c remapfs -n '__fish_seen_subcommand_from import' -s J -l json -d 'The result as JSON'
complete -c remapfs -n '__remapfs_at import 0 =' -F -a '(__remapfs_targets)'
complete -c remapfs -n '__remapfs_at import 1 =' -F

complete -c remapfs -n __fish_use_subcommand -a export -d 'Write the map in the format of another tool'
complete -c remapfs -n '__fish_seen_subcommand_from export' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__fish_seen_subcommand_from export' -l format -r -f -a 'badblocks ddrescue dmsetup csv' -d 'badblocks, ddrescue, dmsetup or csv'
complete -c remapfs -n '__fish_seen_subcommand_from export' -l block-size -r -d 'Unit of a badblocks list; default: the volume\'s block'
complete -c remapfs -n '__remapfs_at export 0 =' -F -a '(__remapfs_targets)'
complete -c remapfs -n '__remapfs_at export 1 =' -F

complete -c remapfs -n __fish_use_subcommand -a scrub -d 'Read the whole disk and move what is weak'
complete -c remapfs -n '__fish_seen_subcommand_from scrub' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__fish_seen_subcommand_from scrub' -l rate -r -d 'Read at most so much a second, as 64M or 64M/s; 0: no limit'
complete -c remapfs -n '__fish_seen_subcommand_from scrub' -s J -l json -d 'How the scrub is, as JSON'
complete -c remapfs -n '__remapfs_at scrub 0 =' -F -a '(__remapfs_targets)'
complete -c remapfs -n '__remapfs_at scrub 1 =' -f -a 'start pause resume stop status'

complete -c remapfs -n __fish_use_subcommand -a spare -d 'Add, list and retire spares, also while mounted'
complete -c remapfs -n '__fish_seen_subcommand_from spare' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__fish_seen_subcommand_from spare' -l size -r -d 'add: make a file of this size, fully allocated'
complete -c remapfs -n '__fish_seen_subcommand_from spare' -l force -d 'add: overwrite what carries a file system or belongs to another volume'
complete -c remapfs -n '__fish_seen_subcommand_from spare' -s J -l json -d 'list, retire: as JSON'
complete -c remapfs -n '__remapfs_at spare 0 =' -F -a '(__remapfs_targets)'
complete -c remapfs -n '__remapfs_at spare 1 =' -f -a 'add list retire'
complete -c remapfs -n '__remapfs_at spare 2 =' -F

complete -c remapfs -n __fish_use_subcommand -a replace -d 'Copy to another primary while in use, and go on with it'
complete -c remapfs -n '__fish_seen_subcommand_from replace' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__fish_seen_subcommand_from replace' -l rate -r -d 'Copy at most so much a second, as 64M or 64M/s; 0: no limit'
complete -c remapfs -n '__fish_seen_subcommand_from replace' -l force -d 'Overwrite what carries a file system or is a spare'
complete -c remapfs -n '__fish_seen_subcommand_from replace' -l status -d 'How the replacement under way is, or the last one'
complete -c remapfs -n '__fish_seen_subcommand_from replace' -l stop -d 'End the one that is under way'
complete -c remapfs -n '__fish_seen_subcommand_from replace' -s J -l json -d 'How the replacement is, as JSON'
complete -c remapfs -n '__remapfs_at replace 0 =' -F -a '(__remapfs_targets)'
complete -c remapfs -n '__remapfs_at replace 1 =' -F

complete -c remapfs -n __fish_use_subcommand -a resume -d 'Go on after a device was gone or a sync failed'
complete -c remapfs -n '__fish_seen_subcommand_from resume' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__remapfs_at resume 0 =' -F -a '(__remapfs_targets)'

complete -c remapfs -n __fish_use_subcommand -a events -d 'Show the history of a volume'
complete -c remapfs -n '__fish_seen_subcommand_from events' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__fish_seen_subcommand_from events' -s J -l json -d 'As JSON'
complete -c remapfs -n '__fish_seen_subcommand_from events' -l follow -d 'Go on as events come; with -J one object a line'
complete -c remapfs -n '__remapfs_at events 0 =' -F -a '(__remapfs_targets)'

complete -c remapfs -n __fish_use_subcommand -a metrics -d 'Show figures of volumes for Prometheus'
complete -c remapfs -n '__fish_seen_subcommand_from metrics' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__fish_seen_subcommand_from metrics' -l all -d 'Every volume that this user has mounted'
complete -c remapfs -n '__fish_seen_subcommand_from metrics' -s o -l output -r -F -d 'Into a file for node_exporter, which is replaced as a whole'
complete -c remapfs -n '__remapfs_at metrics 0 +' -F -a '(__remapfs_targets)'

complete -c remapfs -n __fish_use_subcommand -a report -d 'Make a page that shows the whole disk'
complete -c remapfs -n '__fish_seen_subcommand_from report' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__fish_seen_subcommand_from report' -s o -l output -r -F -d 'The page, which is replaced as a whole'
complete -c remapfs -n '__fish_seen_subcommand_from report' -s J -l json -d 'What the page is made of, as JSON'
complete -c remapfs -n '__remapfs_at report 0 =' -F -a '(__remapfs_targets)'

complete -c remapfs -n __fish_use_subcommand -a files -d 'Tell which files lost sectors belong to'
complete -c remapfs -n '__fish_seen_subcommand_from files' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__fish_seen_subcommand_from files' -s J -l json -d 'As JSON'
complete -c remapfs -n '__remapfs_at files 0 =' -F -a '(__remapfs_targets)'

complete -c remapfs -n __fish_use_subcommand -a smart -d 'Ask the drives how they are, and judge them'
complete -c remapfs -n '__fish_seen_subcommand_from smart' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__fish_seen_subcommand_from smart' -s J -l json -d 'As JSON, with the readings that the map keeps'
complete -c remapfs -n '__remapfs_at smart 0 =' -F -a '(__remapfs_targets)'

complete -c remapfs -n __fish_use_subcommand -a check -d 'Compare everything that map and spares say; change nothing'
complete -c remapfs -n '__fish_seen_subcommand_from check' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__remapfs_at check 0 =' -F

complete -c remapfs -n __fish_use_subcommand -a repair -d 'Mend what is damaged on map and spares, without guessing'
complete -c remapfs -n '__fish_seen_subcommand_from repair' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__remapfs_at repair 0 =' -F

complete -c remapfs -n __fish_use_subcommand -a recover -d 'Rebuild a map that is lost from the spare alone'
complete -c remapfs -n '__fish_seen_subcommand_from recover' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__fish_seen_subcommand_from recover' -l primary -r -F -d 'The primary of the volume'
complete -c remapfs -n '__fish_seen_subcommand_from recover' -l spare -r -F -d 'The spare of the volume, which may be its primary; each one, if there are several'
complete -c remapfs -n '__fish_seen_subcommand_from recover' -l reserve -r -d 'The spare is so much of the end of its device, the primary unless --spare names it'
complete -c remapfs -n '__fish_seen_subcommand_from recover' -l accept-stale -d 'Go on where nothing vouches for what the spare says: blocks may be read with old or wrong contents'
complete -c remapfs -n '__remapfs_at recover 0 =' -F

complete -c remapfs -n __fish_use_subcommand -a backup -d 'Copy the map, mounted or not, to a file of its own'
complete -c remapfs -n '__fish_seen_subcommand_from backup' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__remapfs_at backup 0 =' -F -a '(__remapfs_targets)'
complete -c remapfs -n '__remapfs_at backup 1 =' -F

complete -c remapfs -n __fish_use_subcommand -a destroy -d 'Remove a map and free its spares, without asking'
complete -c remapfs -n '__fish_seen_subcommand_from destroy' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__remapfs_at destroy 0 =' -F

complete -c remapfs -n __fish_use_subcommand -a upgrade -d 'Have this program go on with a mounted volume'
complete -c remapfs -n '__fish_seen_subcommand_from upgrade' -s h -l help -d 'Print this help message and exit'
complete -c remapfs -n '__fish_seen_subcommand_from upgrade' -l all -d 'Every volume that this user has mounted'
complete -c remapfs -n '__fish_seen_subcommand_from upgrade' -l program -r -F -d 'Another remapfs than the one that is run here'
complete -c remapfs -n '__remapfs_at upgrade 0 =' -F -a '(__remapfs_targets)'
