# SPDX-License-Identifier: Apache-2.0
# Completion of faulty-disk for fish. Written by tools/completions: change that.

# Mounted volumes, by mount point and by map; any file may be a map.
function __faulty_disk_targets
    while read -l -d ' ' source place type rest
        if test "$type" = fuse.faulty-disk
            printf '%b\n%b\n' $place $source
        end
    end </proc/self/mounts
end

# Whether the next word is the PLACE-th argument of VERB, or a later one: (verb, place, "=" or "+")
function __faulty_disk_at
    set -l words (commandline -opc)
    test (count $words) -ge 2 -a "$words[2]" = $argv[1]; or return
    set -l place 0
    set -l value no
    for word in $words[3..-1]
        if test $value = yes
            set value no
        else if contains -- $word --error --faults --sector-size
            set value yes
        else if not string match -q -- '-*' $word
            set place (math $place + 1)
        end
    end
    test $place -eq $argv[2]; or test $argv[3] = + -a $place -gt $argv[2]
end

complete -c faulty-disk -f
complete -c faulty-disk -n '__fish_use_subcommand' -s h -l help -d 'Print this help message and exit'

complete -c faulty-disk -n __fish_use_subcommand -a mount -d 'Serve IMAGE as a faulty disk'
complete -c faulty-disk -n '__fish_seen_subcommand_from mount' -s h -l help -d 'Print this help message and exit'
complete -c faulty-disk -n '__fish_seen_subcommand_from mount' -l faults -r -F -d 'File of rules, one a line'
complete -c faulty-disk -n '__fish_seen_subcommand_from mount' -l sector-size -r -f -a '512 4096' -d 'Physical sector: what fails as a whole'
complete -c faulty-disk -n '__fish_seen_subcommand_from mount' -s f -l foreground -d 'Stay in the foreground'
complete -c faulty-disk -n '__fish_seen_subcommand_from mount' -l allow-other -d 'Let other users open the disk'
complete -c faulty-disk -n '__faulty_disk_at mount 0 =' -F
complete -c faulty-disk -n '__faulty_disk_at mount 1 =' -F

complete -c faulty-disk -n __fish_use_subcommand -a set -d 'Add rules; prints their ids'
complete -c faulty-disk -n '__fish_seen_subcommand_from set' -s h -l help -d 'Print this help message and exit'
complete -c faulty-disk -n '__faulty_disk_at set 0 =' -F -a '(__faulty_disk_targets)'

complete -c faulty-disk -n __fish_use_subcommand -a clear -d 'Remove rules'
complete -c faulty-disk -n '__fish_seen_subcommand_from clear' -s h -l help -d 'Print this help message and exit'
complete -c faulty-disk -n '__faulty_disk_at clear 0 =' -F -a '(__faulty_disk_targets)'

complete -c faulty-disk -n __fish_use_subcommand -a list -d 'Show the rules and what each has done'
complete -c faulty-disk -n '__fish_seen_subcommand_from list' -s h -l help -d 'Print this help message and exit'
complete -c faulty-disk -n '__fish_seen_subcommand_from list' -s J -l json -d 'Print JSON'
complete -c faulty-disk -n '__faulty_disk_at list 0 =' -F -a '(__faulty_disk_targets)'

complete -c faulty-disk -n __fish_use_subcommand -a stats -d 'Show what the disk has done'
complete -c faulty-disk -n '__fish_seen_subcommand_from stats' -s h -l help -d 'Print this help message and exit'
complete -c faulty-disk -n '__fish_seen_subcommand_from stats' -s J -l json -d 'Print JSON'
complete -c faulty-disk -n '__faulty_disk_at stats 0 =' -F -a '(__faulty_disk_targets)'

complete -c faulty-disk -n __fish_use_subcommand -a gone -d 'Take the disk away, or give it back'
complete -c faulty-disk -n '__fish_seen_subcommand_from gone' -s h -l help -d 'Print this help message and exit'
complete -c faulty-disk -n '__fish_seen_subcommand_from gone' -l error -r -d 'What every access answers (default ENODEV)'
complete -c faulty-disk -n '__faulty_disk_at gone 0 =' -F -a '(__faulty_disk_targets)'
complete -c faulty-disk -n '__faulty_disk_at gone 1 =' -f -a 'on off'

complete -c faulty-disk -n __fish_use_subcommand -a unmount -d 'Unmount and wait until the process has ended'
complete -c faulty-disk -n '__fish_seen_subcommand_from unmount' -s h -l help -d 'Print this help message and exit'
complete -c faulty-disk -n '__faulty_disk_at unmount 0 =' -F -a '(__faulty_disk_targets)'
