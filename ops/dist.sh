#!/usr/bin/env bash
# Makes an archive of the stripped programs with systemd units and models: ops/dist.sh PROGRAMS OUT, where PROGRAMS is the
# folder that cargo has built them in. The last line that it prints is the archive's path.
set -euo pipefail
programs=$1 out=$2
cd "$(dirname "$0")/.."
version=$("$programs/featurizer" --version | cut -d ' ' -f 2)
name=tidemill-$version-$(uname -m)-linux
folder=$out/$name
rm -rf "$folder"
mkdir -p "$folder/bin" "$folder/models" "$folder/systemd"
for program in featurizer scorer collector sandbox; do
    strip -o "$folder/bin/$program" "$programs/$program"
done
# Where panics name a source, and TLS a folder for its modules, the compiler has put paths of this machine. Slashes of the
# same length take their place; the folder of the modules is then one that only root can make.
for place in "${CARGO_HOME:-$HOME/.cargo}" "$(realpath "$programs")" "$PWD" "$HOME"; do
    PLACE=$place perl -0777 -pi -e 's{\Q$ENV{PLACE}\E(?=/)}{"/" x length $&}ge' "$folder"/bin/*
done
for place in "$HOME" "$PWD"; do
    if grep --binary-files=text --quiet --fixed-strings "$place/" "$folder"/bin/*; then
        echo "a program still names $place" >&2
        exit 1
    fi
done
cp models/fraud.onnx models/fraud.toml models/fraud_history.onnx models/fraud_history.toml models/labeled-events.json "$folder/models/"
cp ops/systemd/*.service "$folder/systemd/"
cp -r README.md CHANGELOG.md LICENSE docs examples "$folder/"
tar --create --gzip --file "$out/$name.tar.gz" --directory "$out" --owner 0 --group 0 "$name"
echo "$out/$name.tar.gz"
