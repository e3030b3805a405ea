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

# franz_go_test PATTERN [REMARK]: franz-go's own tests of that name, unchanged, against the broker $broker; a line with the remark
# for each part that passed, which are counted in $passed.
franz_go_test() {
    local log=$CACHE/$(basename "$here").test
    export KGO_SEEDS=$broker KGO_TEST_RF=1 KGO_TEST_RECORDS=20000 KGO_TEST_MAX_TOPIC_PARTS=7 KGO_LOG_LEVEL=none
    if ! (cd "$interop/franz-go" && go test github.com/twmb/franz-go/pkg/kgo -run "$1" -v -count=1 -timeout 300s) > "$log" 2>&1; then
        tail -n 30 "$log"
        echo "$passed passed, 1 failed"
        exit 1
    fi
    local parts
    parts=$(sed -n "s/^    --- PASS: \\(Test[^ ]*\\).*/ok     \\1${2:+ $2}/p" "$log")
    [ -n "$parts" ] || { echo "$passed passed, 1 failed"; exit 1; }
    echo "$parts"
    passed=$((passed + $(wc -l <<< "$parts")))
}
