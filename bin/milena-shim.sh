# What the scripts of this directory share: the names and flags of Kafka's own, over the command line of milena. Sourced, not run.

set -euo pipefail
shim_name=$(basename "$0")
shim_dir=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)

# The binary: $MILENA, a release build beside this directory, or whatever the path holds.
find_milena() {
    local built="$shim_dir/../target/release/milena"
    if [ -n "${MILENA:-}" ]; then
        echo "$MILENA"
    elif [ -x "$built" ]; then
        echo "$built"
    elif command -v milena > /dev/null; then
        command -v milena
    else
        echo "$shim_name: no milena: build it with \`cargo build --release\`, or name it with MILENA=PATH" >&2
        exit 1
    fi
}

# One line on stderr, and Kafka's exit code for wrong usage.
refuse() {
    echo "$shim_name: $*" >&2
    exit 1
}

# What Kafka's script takes and this one does not do.
not_here() {
    refuse "$1 is not supported; see \`milena ${2:-} --help\` for what is"
}

# Kafka's tools take --name value and --name=value alike: afterwards `arguments` holds the first form alone.
split_arguments() {
    arguments=()
    local argument
    for argument in "$@"; do
        case $argument in
            --*=*) arguments+=("${argument%%=*}" "${argument#*=}") ;;
            *) arguments+=("$argument") ;;
        esac
    done
}

# Ends the script where an option, $1, has no value behind it.
need() {
    [ $# -ge 2 ] || refuse "$1 wants a value"
}
