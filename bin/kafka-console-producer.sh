#!/usr/bin/env bash
# kafka-console-producer.sh --bootstrap-server HOST:PORT --topic NAME [--property parse.key=true] [--property key.separator=TEXT] ..
. "$(dirname "$(readlink -f "$0")")/milena-shim.sh"

topic="" options=() server=() parse_key="" separator=$'\t'
take_property() {
    case $1 in
        parse.key=*) parse_key=${1#*=} ;;
        key.separator=*) separator=${1#*=} ;;
        *) not_here "--property $1" produce ;;
    esac
}
split_arguments "$@"
set -- ${arguments[@]+"${arguments[@]}"}
while [ $# -gt 0 ]; do
    case $1 in
        --bootstrap-server) need "$@" && server=(--bootstrap "$2") && shift ;;
        --topic) need "$@" && topic=$2 && shift ;;
        --property | --reader-property) need "$@" && take_property "$2" && shift ;;
        --compression-codec)
            # Kafka's codec, when none is named, is gzip.
            case ${2:-} in "" | --*) options+=(--compression gzip) ;; *) options+=(--compression "$2") && shift ;; esac
            ;;
        --request-required-acks)
            need "$@"
            case $2 in
                0) options+=(--acks none) ;;
                1) options+=(--acks leader) ;;
                -1 | all) options+=(--acks all) ;;
                *) refuse "--request-required-acks wants 0, 1 or all" ;;
            esac
            shift
            ;;
        *) not_here "$1" produce ;;
    esac
    shift
done
[ ${#server[@]} -gt 0 ] || refuse "give --bootstrap-server HOST:PORT"
[ -n "$topic" ] || refuse "give --topic NAME"
[ "$parse_key" = true ] && options+=(--key-separator "$separator")
# Kafka's prints nothing.
exec "$(find_milena)" "${server[@]}" produce "$topic" ${options[@]+"${options[@]}"} > /dev/null
