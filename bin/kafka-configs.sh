#!/usr/bin/env bash
# kafka-configs.sh --bootstrap-server HOST:PORT --describe|--alter --entity-type TYPE [--entity-name NAME|--entity-default] ..
# Types are topics, brokers and groups, and for quotas users, clients and ips; users and clients may stand together.
. "$(dirname "$(readlink -f "$0")")/milena-shim.sh"

action="" types=() names=() changes=() server=() all=()

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

# entity TYPE NAME: what the settings or the quota are of; without a name it is everybody who has none of his own.
entity() {
    types+=("$1")
    names+=("$2")
}

# The options of milena for one entity, in `resource`.
add_resource() {
    case $1:${2:+named} in
        topics:named | groups:named | brokers:named | users:named) resource+=("--${1%s}" "$2") ;;
        clients:named) resource+=(--client-id "$2") ;;
        ips:named) resource+=(--ip "$2") ;;
        brokers: | users: | ips:) resource+=("--$1") ;;
        clients:) resource+=(--client-ids) ;;
        topics: | groups:) refuse "give --entity-name NAME" ;;
        *) not_here "--entity-type $1" config ;;
    esac
}

split_arguments "$@"
set -- ${arguments[@]+"${arguments[@]}"}
while [ $# -gt 0 ]; do
    case $1 in
        --bootstrap-server) need "$@" && server=(--bootstrap "$2") && shift ;;
        --describe | --alter) action=${1#--} ;;
        --all) all=(--all) ;;
        --entity-type) need "$@" && types+=("$2") && shift ;;
        --entity-name) need "$@" && names+=("$2") && shift ;;
        --entity-default) names+=("") ;;
        --topic | --broker | --group | --user | --client | --ip) need "$@" && entity "${1#--}s" "$2" && shift ;;
        --broker-defaults | --user-defaults | --client-defaults | --ip-defaults)
            kind=${1#--}
            entity "${kind%-defaults}s" ""
            ;;
        --add-config) need "$@" && split_changes "$2" && shift ;;
        --delete-config)
            need "$@"
            IFS=, read -ra deleted <<< "$2"
            for name in "${deleted[@]}"; do changes+=(--delete "$name"); done
            shift
            ;;
        *) not_here "$1" config ;;
    esac
    shift
done
[ ${#server[@]} -gt 0 ] || refuse "give --bootstrap-server HOST:PORT"
[ -n "$action" ] || refuse "give --describe or --alter"
case ${types[0]-} in
    "") refuse "give --entity-type topics, brokers, groups, users, clients or ips" ;;
    users | clients | ips) command=quota all=() ;;
    *) command=config ;;
esac
resource=()
if [ "$command $action ${#names[@]}" != "quota describe 0" ]; then
    [ ${#names[@]} = ${#types[@]} ] || refuse "give --entity-name NAME, or --entity-default, for each --entity-type"
    for at in "${!types[@]}"; do add_resource "${types[at]}" "${names[at]}"; done
fi
[ "$action" = describe ] && changes=(${all[@]+"${all[@]}"})
exec "$(find_milena)" "${server[@]}" "$command" "$action" ${resource[@]+"${resource[@]}"} ${changes[@]+"${changes[@]}"}
