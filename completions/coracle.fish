# fish completion for coracle: `coracle completion fish` prints this.

function __coracle_complete
    set -l words (commandline -opc)
    set -l program coracle
    string match -q '*/*' -- $words[1]; and set program $words[1]
    # The token as it is typed, without the quote that opens it.
    set -l current (commandline -ct)
    string match -qr '^["\']' -- $current
    and set current (string sub -s 2 -- $current)
    or set current (string unescape -- $current)
    set -l all (commandline -op)
    set -l after
    set -l at (math (count $words) + 2)
    test (count $all) -ge $at; and set after $all[$at..]
    set -lx CORACLE_AFTER_CURSOR (string join \n -- $after)
    for line in ($program __complete $words[2..] "$current" 2>/dev/null)
        set -l directive (string match -r '^:([0-9]+)$' -- $line)
        if test -z "$directive"
            echo $line
            continue
        end
        # Of --option=FILE the file is completed.
        set -l option (string match -r '^--[a-z0-9-]+=' -- $current)
        set -q option[1]; or set option ''
        set -l path (string replace -- "$option" '' "$current")
        switch $directive[2]
            case 0 2
                printf '%s\n' $option(__fish_complete_path "$path")
            case 16 18
                printf '%s\n' $option(__fish_complete_directories "$path")
        end
    end
end

complete -c coracle -f -a '(__coracle_complete)'

# The names of others, where they are coracle; an alias is completed by itself.
for name in podman docker
    if command -q $name; and command -q coracle
        and test (realpath (command -s $name)) = (realpath (command -s coracle))
        complete -c $name -w coracle
    end
end
