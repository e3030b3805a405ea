#!/usr/bin/env bash
# kafka-console-consumer.sh --bootstrap-server HOST:PORT --topic NAME [--from-beginning] [--group NAME] [--max-messages N] ..
. "$(dirname "$(readlink -f "$0")")/milena-shim.sh"

topic="" options=() server=()
take_property() {
    case $1 in
        print.key=true) options+=(--format key-value) ;;
        print.key=false | print.value=true) ;;
        *) not_here "--property $1" consume ;;
    esac
}
split_arguments "$@"
set -- ${arguments[@]+"${arguments[@]}"}
while [ $# -gt 0 ]; do
    case $1 in
        --bootstrap-server) need "$@" && server=(--bootstrap "$2") && shift ;;
        --topic) need "$@" && topic=$2 && shift ;;
        --from-beginning) options+=(--from-beginning) ;;
        --group) need "$@" && options+=(--group "$2") && shift ;;
        --partition) need "$@" && options+=(--partition "$2") && shift ;;
        --offset) need "$@" && options+=(--offset "$2") && shift ;;
        --max-messages) need "$@" && options+=(-n "$2") && shift ;;
        --timeout-ms) need "$@" && options+=(--timeout-ms "$2") && shift ;;
        --property | --formatter-property) need "$@" && take_property "$2" && shift ;;
        *) not_here "$1" consume ;;
    esac
    shift
done
[ ${#server[@]} -gt 0 ] || refuse "give --bootstrap-server HOST:PORT"
[ -n "$topic" ] || refuse "give --topic NAME"
exec "$(find_milena)" "${server[@]}" consume "$topic" ${options[@]+"${options[@]}"}
