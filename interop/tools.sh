# Sourced by every client's `run`. What a client needs is fetched once, into $CACHE, by its own package tool.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
interop=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${CACHE:=$interop/../target/interop}"
mkdir -p "$CACHE"
CACHE=$(cd "$CACHE" && pwd)

# Ends with a plain word when a tool is missing: a check that cannot run has failed.
need() {
    command -v "$1" > /dev/null || { echo "this needs $1, which is not installed" >&2; exit 1; }
}

# python_with NAME REQUIREMENT...: prints the path of a Python that has them.
python_with() {
    need python3
    local folder=$CACHE/python-$1
    local wanted="${*:2}"
    if [ "$(cat "$folder/wanted" 2> /dev/null)" != "$wanted" ]; then
        rm -rf "$folder"
        python3 -m venv "$folder" >&2
        "$folder/bin/pip" install --quiet --disable-pip-version-check "${@:2}" >&2
        echo "$wanted" > "$folder/wanted"
    fi
    echo "$folder/bin/python"
}
