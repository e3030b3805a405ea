#!/usr/bin/env bash
# kafka-topics.sh --bootstrap-server HOST:PORT --create|--list|--describe|--alter|--delete [--topic NAME] ..
. "$(dirname "$(readlink -f "$0")")/milena-shim.sh"

action="" topic="" options=() config=() server=() exists=()
split_arguments "$@"
set -- ${arguments[@]+"${arguments[@]}"}
while [ $# -gt 0 ]; do
    case $1 in
        --bootstrap-server) need "$@" && server=(--bootstrap "$2") && shift ;;
        --create | --list | --describe | --alter | --delete)
            [ -z "$action" ] || refuse "--$action and $1 do not go together"
            action=${1#--}
            ;;
        --topic) need "$@" && topic=$2 && shift ;;
        --partitions) need "$@" && options+=(--partitions "$2") && shift ;;
        --replication-factor) need "$@" && options+=(--replication-factor "$2") && shift ;;
        --config) need "$@" && config+=(--config "$2") && shift ;;
        --if-exists | --if-not-exists) exists=("$1") ;;
        --exclude-internal) ;;
        *) not_here "$1" topic ;;
    esac
    shift
done
[ ${#server[@]} -gt 0 ] || refuse "give --bootstrap-server HOST:PORT"
milena=("$(find_milena)" "${server[@]}" topic)
case $action in
    "") refuse "give one of --create, --list, --describe, --alter, --delete" ;;
    list) "${milena[@]}" list --internal | tail -n +2 | cut -d ' ' -f 1 ;;
    describe)
        names=("$topic")
        [ -n "$topic" ] || mapfile -t names < <("${milena[@]}" list --internal | tail -n +2 | cut -d ' ' -f 1)
        [ ${#names[@]} -eq 0 ] || exec "${milena[@]}" describe "${names[@]}"
        ;;
    *)
        [ -n "$topic" ] || refuse "--$action wants --topic NAME"
        exec "${milena[@]}" "$action" "$topic" ${options[@]+"${options[@]}"} ${config[@]+"${config[@]}"} ${exists[@]+"${exists[@]}"}
        ;;
esac
