#!/usr/bin/env bash
# kafka-storage.sh random-uuid | format -c FILE -t ID [--standalone] [-g] | info -c FILE
. "$(dirname "$(readlink -f "$0")")/milena-shim.sh"

# The value of a key in a file of Kafka's properties; the last one counts.
property() {
    sed -n "s/^[[:space:]]*${1//./\\.}[[:space:]]*[=:][[:space:]]*//p" "$2" | tail -n 1
}

random_uuid() {
    local id
    while :; do
        id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n')
        case $id in -*) ;; *) break ;; esac
    done
    echo "$id"
}

format() {
    local config="" cluster="" ignore="" told
    split_arguments "$@"
    set -- ${arguments[@]+"${arguments[@]}"}
    while [ $# -gt 0 ]; do
        case $1 in
            -c | --config) need "$@" && config=$2 && shift ;;
            -t | --cluster-id) need "$@" && cluster=$2 && shift ;;
            -g | --ignore-formatted) ignore=yes ;;
            # What `milena format` does anyway.
            -s | --standalone) ;;
            *) not_here "$1" format ;;
        esac
        shift
    done
    [ -n "$config" ] || refuse "format wants --config FILE"
    [ -n "$cluster" ] || refuse "format wants --cluster-id ID; \`$shim_name random-uuid\` makes one"
    milena=$(find_milena)
    if told=$("$milena" format --config "$config" --cluster-id "$cluster" 2>&1); then
        echo "$told"
    elif [ -n "$ignore" ] && [[ $told == *"is formatted already"* ]]; then
        echo "All of the log directories are already formatted."
    else
        echo "$told" >&2
        exit 1
    fi
}

info() {
    local config=""
    split_arguments "$@"
    set -- ${arguments[@]+"${arguments[@]}"}
    while [ $# -gt 0 ]; do
        case $1 in
            -c | --config) need "$@" && config=$2 && shift ;;
            *) not_here "$1" format ;;
        esac
        shift
    done
    [ -n "$config" ] || refuse "info wants --config FILE"
    [ -r "$config" ] || refuse "cannot read $config"
    local dir
    dir=$(property log.dirs "$config")
    [ -n "$dir" ] || dir=$(property log.dir "$config")
    [ -n "$dir" ] || refuse "$config names no log.dirs"
    printf 'Found log directory:\n  %s\n\n' "$dir"
    if [ ! -f "$dir/meta.properties" ]; then
        printf 'Found problem:\n  %s is not formatted.\n\n' "$dir"
        exit 1
    fi
    printf 'Found metadata: {%s}\n\n' "$(grep -v '^#' "$dir/meta.properties" | sort | paste -sd, | sed 's/,/, /g')"
}

[ $# -gt 0 ] || refuse "give one of random-uuid, format, info"
command=$1
shift
case $command in
    random-uuid) random_uuid ;;
    format) format "$@" ;;
    info) info "$@" ;;
    *) not_here "$command" format ;;
esac
