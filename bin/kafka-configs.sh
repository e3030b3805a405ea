#!/usr/bin/env bash
# kafka-configs.sh --bootstrap-server HOST:PORT --describe|--alter --entity-type topics|brokers|groups --entity-name NAME|--entity-default ..
. "$(dirname "$(readlink -f "$0")")/milena-shim.sh"

action="" type="" name="" default="" changes=() server=() all=()

# NAME=VALUE pairs with commas between them; [a,b] is one value with commas.
split_changes() {
    local rest=$1 pair
    while [ -n "$rest" ]; do
        if [[ $rest =~ ^([^=,]+)=\[([^]]*)\],?(.*)$ ]]; then
            changes+=(--set "${BASH_REMATCH[1]}=${BASH_REMATCH[2]}")
            rest=${BASH_REMATCH[3]}
        else
            pair=${rest%%,*}
            [[ $pair == *=* ]] || refuse "\"$pair\" is no NAME=VALUE"
            changes+=(--set "$pair")
            [[ $rest == *,* ]] && rest=${rest#*,} || rest=""
        fi
    done
}

arguments=()
for argument in "$@"; do
    case $argument in
        --entity-*=* | --bootstrap-server=* | --add-config=* | --delete-config=*)
            arguments+=("${argument%%=*}" "${argument#*=}") ;;
        *) arguments+=("$argument") ;;
    esac
done
set -- ${arguments[@]+"${arguments[@]}"}
while [ $# -gt 0 ]; do
    case $1 in
        --bootstrap-server) need "$@" && server=(--bootstrap "$2") && shift ;;
        --describe | --alter) action=${1#--} ;;
        --all) all=(--all) ;;
        --entity-type) need "$@" && type=$2 && shift ;;
        --entity-name) need "$@" && name=$2 && shift ;;
        --entity-default) default=yes ;;
        --topic) need "$@" && type=topics && name=$2 && shift ;;
        --broker) need "$@" && type=brokers && name=$2 && shift ;;
        --group) need "$@" && type=groups && name=$2 && shift ;;
        --broker-defaults) type=brokers && default=yes ;;
        --add-config) need "$@" && split_changes "$2" && shift ;;
        --delete-config)
            need "$@"
            IFS=, read -ra names <<< "$2"
            for deleted in "${names[@]}"; do changes+=(--delete "$deleted"); done
            shift
            ;;
        *) not_here "$1" config ;;
    esac
    shift
done
[ ${#server[@]} -gt 0 ] || refuse "give --bootstrap-server HOST:PORT"
[ -n "$action" ] || refuse "give --describe or --alter"
case $type in
    topics) resource=(--topic "$name") ;;
    groups) resource=(--group "$name") ;;
    brokers) [ -n "$default" ] && resource=(--brokers) || resource=(--broker "$name") ;;
    "") refuse "give --entity-type topics, brokers or groups" ;;
    *) not_here "--entity-type $type" config ;;
esac
[ -n "$name$default" ] || refuse "give --entity-name NAME"
[ "$action" = describe ] && changes=("${all[@]}")
exec "$(find_milena)" "${server[@]}" config "$action" "${resource[@]}" ${changes[@]+"${changes[@]}"}
