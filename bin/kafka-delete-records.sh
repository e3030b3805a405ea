#!/usr/bin/env bash
# kafka-delete-records.sh --bootstrap-server HOST:PORT --offset-json-file FILE
. "$(dirname "$(readlink -f "$0")")/milena-shim.sh"

file="" server=()
split_arguments "$@"
set -- ${arguments[@]+"${arguments[@]}"}
while [ $# -gt 0 ]; do
    case $1 in
        --bootstrap-server) need "$@" && server=(--bootstrap "$2") && shift ;;
        --offset-json-file) need "$@" && file=$2 && shift ;;
        *) not_here "$1" "topic delete-records" ;;
    esac
    shift
done
[ ${#server[@]} -gt 0 ] || refuse "give --bootstrap-server HOST:PORT"
[ -n "$file" ] || refuse "give --offset-json-file FILE"
exec "$(find_milena)" "${server[@]}" topic delete-records --file "$file"
