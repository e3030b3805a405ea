#!/usr/bin/env bash
# kafka-consumer-groups.sh --bootstrap-server HOST:PORT --list|--describe|--delete|--reset-offsets [--group NAME]..
. "$(dirname "$(readlink -f "$0")")/milena-shim.sh"

action="" groups=() options=() to=() server=() execute="" all=""
split_arguments "$@"
set -- ${arguments[@]+"${arguments[@]}"}
while [ $# -gt 0 ]; do
    case $1 in
        --bootstrap-server) need "$@" && server=(--bootstrap "$2") && shift ;;
        --list | --describe | --delete | --reset-offsets)
            [ -z "$action" ] || refuse "--$action and $1 do not go together"
            action=${1#--}
            ;;
        --group) need "$@" && groups+=("$2") && shift ;;
        --all-groups) all=yes ;;
        --all-topics | --offsets) ;;
        --topic)
            need "$@"
            topic=$2 && shift
            # NAME or NAME:0,1,2
            options+=(--topic "${topic%%:*}")
            if [[ $topic == *:* ]]; then
                IFS=, read -ra numbers <<< "${topic#*:}"
                for number in "${numbers[@]}"; do options+=(--partition "$number"); done
            fi
            ;;
        --to-earliest | --to-latest | --to-current) to=("$1") ;;
        --to-offset | --shift-by | --to-datetime | --by-duration) need "$@" && to=("$1" "$2") && shift ;;
        --execute) execute=yes ;;
        --dry-run) execute="" ;;
        *) not_here "$1" group ;;
    esac
    shift
done
[ ${#server[@]} -gt 0 ] || refuse "give --bootstrap-server HOST:PORT"
milena=("$(find_milena)" "${server[@]}" group)
list() { "${milena[@]}" list | tail -n +2 | cut -d ' ' -f 1; }
[ -n "$all" ] && mapfile -t groups < <(list)
case $action in
    "") refuse "give one of --list, --describe, --delete, --reset-offsets" ;;
    list) list ;;
    *)
        [ ${#groups[@]} -gt 0 ] || [ -n "$all" ] || refuse "--$action wants --group NAME"
        for group in ${groups[@]+"${groups[@]}"}; do
            case $action in
                describe) "${milena[@]}" describe "$group" ;;
                delete) "${milena[@]}" delete "$group" ;;
                reset-offsets)
                    [ ${#to[@]} -gt 0 ] || refuse "--reset-offsets wants a place: --to-earliest, --to-latest, --to-current, --to-offset, --to-datetime, --by-duration or --shift-by"
                    # Without --execute nothing is changed, as in Kafka.
                    [ -n "$execute" ] && how=--execute || how=--dry-run
                    "${milena[@]}" reset "$group" ${options[@]+"${options[@]}"} "${to[@]}" "$how"
                    ;;
            esac
        done
        ;;
esac
