#!/usr/bin/env bash
# kafka-server-start.sh [-daemon] server.properties [--override KEY=VALUE]..
. "$(dirname "$(readlink -f "$0")")/milena-shim.sh"

if [ "${1:-}" = -daemon ]; then
    shift
    logs=${LOG_DIR:-$shim_dir/../logs}
    mkdir -p "$logs"
    nohup "$0" "$@" > "$logs/kafkaServer.out" 2>&1 < /dev/null &
    exit 0
fi
[ $# -gt 0 ] || refuse "give a server.properties"
config=$1
shift
[ -r "$config" ] || refuse "cannot read $config"
options=()
node=$(sed -n 's/^[[:space:]]*node\.id[[:space:]]*[=:][[:space:]]*//p' "$config" | tail -n 1)
while [ $# -gt 0 ]; do
    case $1 in
        --override)
            need "$@"
            setting=$2 && shift
            options+=(-o "$setting")
            [[ $setting == node.id=* ]] && node=${setting#node.id=}
            ;;
        --override=*) options+=(-o "${1#--override=}") ;;
        *) not_here "$1" server ;;
    esac
    shift
done

# Kafka's line for whoever waits until requests are served.
tell_ready() {
    local line
    while read -r line; do
        echo "$line"
        [[ $line == ready* ]] && echo "[$(date '+%F %T,%3N')] INFO [KafkaRaftServer nodeId=${node:-1}] Kafka Server started (kafka.server.KafkaRaftServer)"
    done
}

milena=$(find_milena)
# The node takes this process's place, so that whoever stops the script stops the node.
exec "$milena" server --config "$config" ${options[@]+"${options[@]}"} > >(tell_ready)
