#!/usr/bin/env bash
# kafka-get-offsets.sh --bootstrap-server HOST:PORT --topic NAME [--time -1|-2|earliest|latest|TIMESTAMP]: prints NAME:PARTITION:OFFSET
. "$(dirname "$(readlink -f "$0")")/milena-shim.sh"

topic="" time=() server=()
split_arguments "$@"
set -- ${arguments[@]+"${arguments[@]}"}
while [ $# -gt 0 ]; do
    case $1 in
        --bootstrap-server) need "$@" && server=(--bootstrap "$2") && shift ;;
        --topic) need "$@" && topic=$2 && shift ;;
        --time)
            need "$@"
            case $2 in
                -1 | latest) time=() ;;
                -2 | earliest) time=(--earliest) ;;
                -*) not_here "--time $2" "topic offsets" ;;
                *) time=(--at "$2") ;;
            esac
            shift
            ;;
        *) not_here "$1" "topic offsets" ;;
    esac
    shift
done
[ ${#server[@]} -gt 0 ] || refuse "give --bootstrap-server HOST:PORT"
[ -n "$topic" ] || refuse "give --topic NAME"
"$(find_milena)" "${server[@]}" topic offsets "$topic" ${time[@]+"${time[@]}"} | tail -n +2 | sed -E 's/ +/:/g'
