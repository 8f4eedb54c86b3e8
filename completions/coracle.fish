# fish completion for coracle: `coracle completion fish` prints this.

function __coracle_complete
    set -l words (commandline -opc)[2..] (commandline -ct)
    for line in (coracle __complete $words 2>/dev/null)
        switch $line
            case ':0'
                __fish_complete_path (commandline -ct)
            case ':*'
            case '*'
                echo $line
        end
    end
end

complete -c coracle -f -a '(__coracle_complete)'
