#!/usr/bin/env bash
# kafka-transactions.sh --bootstrap-server HOST:PORT list|describe|describe-producers|find-hanging|abort|forceTerminateTransaction [..]
. "$(dirname "$(readlink -f "$0")")/milena-shim.sh"

action="" topic="" partition="" id="" server=() options=()
split_arguments "$@"
set -- ${arguments[@]+"${arguments[@]}"}
while [ $# -gt 0 ]; do
    case $1 in
        --bootstrap-server) need "$@" && server=(--bootstrap "$2") && shift ;;
        list | describe | describe-producers | find-hanging | abort | forceTerminateTransaction)
            [ -z "$action" ] || refuse "$action and $1 do not go together"
            action=$1
            ;;
        --transactional-id | --transactionalId) need "$@" && id=$2 && shift ;;
        --topic) need "$@" && topic=$2 && shift ;;
        --partition) need "$@" && partition=$2 && shift ;;
        --broker-id) need "$@" && options+=(--broker "$2") && shift ;;
        --transactional-id-pattern) need "$@" && options+=(--id-pattern "$2") && shift ;;
        --duration-filter)
            need "$@"
            # Below zero it is no filter.
            case $2 in
                -*) ;;
                *[!0-9]* | "") refuse "--duration-filter wants milliseconds" ;;
                *) options+=(--longer-than "PT$(($2 / 1000)).$(printf %03d $(($2 % 1000)))S") ;;
            esac
            shift
            ;;
        --max-transaction-timeout) need "$@" && options+=(--longer-than "PT$2M") && shift ;;
        --start-offset | --producer-id | --producer-epoch | --coordinator-epoch) need "$@" && options+=("$1" "$2") && shift ;;
        *) not_here "$1" transaction ;;
    esac
    shift
done
[ ${#server[@]} -gt 0 ] || refuse "give --bootstrap-server HOST:PORT"
case $action in
    list) words=(list) ;;
    describe | forceTerminateTransaction)
        [ -n "$id" ] || refuse "$action wants --transactional-id ID"
        [ "$action" = describe ] && words=(describe "$id") || words=(terminate "$id")
        ;;
    describe-producers)
        [ -n "$topic" ] && [ -n "$partition" ] || refuse "$action wants --topic NAME and --partition NUMBER"
        words=(describe-producers "$topic:$partition")
        ;;
    abort)
        [ -n "$topic" ] && [ -n "$partition" ] || refuse "$action wants --topic NAME and --partition NUMBER"
        words=(abort "$topic" "$partition")
        ;;
    find-hanging)
        # Kafka asks for one of them too: all partitions of a cluster are many.
        [ -n "$topic" ] || [[ " ${options[*]-} " == *" --broker "* ]] || refuse "find-hanging wants --topic NAME or --broker-id ID"
        words=(find-hanging)
        [ -z "$topic" ] || words+=(--topic "$topic${partition:+:$partition}")
        ;;
    *) refuse "give one of list, describe, describe-producers, find-hanging, abort, forceTerminateTransaction" ;;
esac
exec "$(find_milena)" "${server[@]}" transaction "${words[@]}" ${options[@]+"${options[@]}"}
