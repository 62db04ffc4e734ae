#!/bin/sh
# Regenerates src/generated/wire.rs from schema/wire.fbs. Needs flatc 25.12.19, the version of the
# flatbuffers crate: on PATH, or named by $FLATC. With --print it writes to stdout and changes nothing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
flatc=${FLATC:-flatc}

"$flatc" --version | grep -q '25\.12\.19$' || {
    echo "regen.sh: flatc 25.12.19 is needed; put it on PATH or set FLATC" >&2
    exit 1
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$flatc" --rust --filename-suffix '' -o "$scratch" "$here/schema/wire.fbs"

# The first line ties the code to the schema it came from; a test compares it.
generated() {
    printf '// cksum of schema/wire.fbs: %s\n' "$(cksum <"$here/schema/wire.fbs" | cut -d ' ' -f 1)"
    cat "$scratch/wire.rs"
}
case ${1:-} in
--print) generated ;;
'') generated >"$here/src/generated/wire.rs" ;;
*)
    echo "usage: regen.sh [--print]" >&2
    exit 2
    ;;
esac
