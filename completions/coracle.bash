# bash completion for coracle: `coracle completion bash` prints this.

_coracle() {
    # Bash breaks words at : and = as well; glue them together as they were typed.
    local rest=${COMP_LINE#"${COMP_WORDS[0]}"} words=() word i
    for ((i = 1; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ ${#words[@]} -gt 0 && $rest != [[:space:]]* ]]; then
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
        fi
        rest=${rest#"${rest%%[![:space:]]*}"}
        rest=${rest#"$word"}
    done
    local current=${words[${#words[@]} - 1]} part=${COMP_WORDS[COMP_CWORD]}
    [[ $part == [:=]* ]] && part=${part#[:=]}
    # What bash takes to be typed already and does not want to see again.
    local typed=${current%"$part"} directive=4 line
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            :[0-9]*) directive=${line#:} ;;
            *) line=${line%%$'\t'*} COMPREPLY+=("${line#"$typed"}") ;;
        esac
    done < <(coracle __complete "${words[@]}" 2>/dev/null)
    if [[ $directive == 0 ]]; then
        compopt -o default 2>/dev/null
    elif [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *: ]]; then
        compopt -o nospace 2>/dev/null
    fi
}

complete -F _coracle coracle
