# bash completion for coracle: `coracle completion bash` prints this.

_coracle() {
    # Bash breaks words at : and = as well; glue them together as they were typed.
    local rest=${COMP_LINE:COMP_POINT} all=("${COMP_WORDS[@]}") words=() after=() word i
    # Between two words the cursor is in none, but bash says that it is in the next.
    rest=${rest#"${rest%%[![:space:]]*}"}
    if [[ -n ${all[COMP_CWORD]} && $rest == "${all[COMP_CWORD]}"* && ${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]]; then
        all=("${all[@]:0:COMP_CWORD}" '' "${all[@]:COMP_CWORD}")
    fi
    rest=${COMP_LINE#"${COMP_WORDS[0]}"}
    for ((i = 1; i < ${#all[@]}; i++)); do
        word=${all[i]}
        if ((i > COMP_CWORD)); then
            after+=("$word")
        elif [[ ${#words[@]} -gt 0 && $rest != [[:space:]]* ]]; then
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
        fi
        rest=${rest#"${rest%%[![:space:]]*}"}
        rest=${rest#"$word"}
    done
    # Quotes and backslashes are bash's, not part of the words.
    local quote='' backslash='\'
    for i in "${!words[@]}"; do
        word=${words[i]}
        case $word in
            [\'\"]*) quote=${word:0:1} word=${word#["\"'"]} word=${word%["\"'"]} ;;
            *) quote='' word=${word//"$backslash"/} ;;
        esac
        words[i]=$word
    done
    local current=${words[${#words[@]} - 1]} part=${all[COMP_CWORD]}
    # What bash takes to be typed already and does not want to see again.
    local typed=''
    if [[ -z $quote ]]; then
        [[ $part == [:=]* ]] && part=${part#[:=]}
        part=${part//"$backslash"/}
        typed=${current%"$part"}
    fi
    local program=coracle
    [[ ${COMP_WORDS[0]} == */* ]] && program=${COMP_WORDS[0]/#\~/$HOME}
    local offered=() about=() directive=4 line longest=0
    while IFS= read -r line; do
        case $line in
            :[0-9]*) directive=${line#:} ;;
            *)
                word=${line%%$'\t'*}
                offered+=("${word#"$typed"}")
                if [[ $line == *$'\t'* ]]; then about+=("${line#*$'\t'}"); else about+=(''); fi
                word=${offered[${#offered[@]} - 1]}
                ((${#word} > longest)) && longest=${#word}
                ;;
        esac
    done < <(CORACLE_AFTER_CURSOR=$(printf '%s\n' "${after[@]}") "$program" __complete "${words[@]}" 2>/dev/null)
    COMPREPLY=()
    # A list that is only looked at says what each word is.
    if [[ ${COMP_TYPE-} == 63 && ${#offered[@]} -gt 1 && $longest -lt 60 ]]; then
        local width=$((${COLUMNS:-80} - longest - 6))
        for i in "${!offered[@]}"; do
            word=${offered[i]} line=${about[i]}
            if [[ -n $line && $width -gt 10 ]]; then
                ((${#line} > width)) && line=${line:0:width-1}…
                printf -v word '%-*s  (%s)' "$longest" "$word" "$line"
            fi
            COMPREPLY+=("$word")
        done
    else
        for word in "${offered[@]}"; do
            # What bash would read as more than a word is quoted.
            if [[ -z $quote && $word == *[[:space:]\"\'\$\&\;\(\)\<\>\|\*\?\!]* ]]; then
                printf -v word %q "$word"
            fi
            COMPREPLY+=("$word")
        done
    fi
    if ((directive & 16)); then
        compopt -o filenames 2>/dev/null
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -d -- "${current#"$typed"}")
    elif ! ((directive & 4)); then
        if [[ ${#COMPREPLY[@]} == 0 ]]; then
            compopt -o default 2>/dev/null
        else
            while IFS= read -r line; do
                [[ -d $line ]] && line+=/
                COMPREPLY+=("$line")
            done < <(compgen -f -- "${current#"$typed"}")
        fi
    fi
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[:=/.@,] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}

complete -F _coracle coracle

# The names of others, where they are coracle.
_coracle_also() {
    local name
    for name in podman docker; do
        if [[ ${BASH_ALIASES[$name]-} == ?(*/)coracle ]] ||
            [[ $(type -P "$name") -ef $(type -P coracle) ]]; then
            complete -F _coracle "$name"
        fi
    done
}
_coracle_also
unset -f _coracle_also
