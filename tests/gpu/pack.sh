#!/usr/bin/env bash
# pack.sh BUILD BUNDLE - makes BUILD/gpu of a bundle, the C tests that tests/gpu/suites names, and a LuaJIT for the
# bench, and a tarball of it, for check.sh on a machine where nothing of icot's is installed.
set -euo pipefail
build=$(realpath "$1") bundle=$(realpath "$2") folder=$(realpath "$1")/gpu

rm -rf "$folder"
cp -r "$bundle" "$folder"
mkdir "$folder/tests"
cmocka=$(ldd "$build/tests/test_backends" | awk '$1 ~ /^libcmocka/ { print $3 }')
install -m 644 "$(realpath "$cmocka")" "$folder/lib/icot/libs/$(basename "$cmocka")"
for name in $(cat "$(dirname "$0")/suites"); do
    install -m 755 "$build/tests/test_$name" "$folder/tests"
    strip --strip-unneeded "$folder/tests/test_$name"
    patchelf --force-rpath --set-rpath "\$ORIGIN/../lib/icot/libs" "$folder/tests/test_$name"
done
install -m 755 "$(command -v luajit)" "$folder/bin/luajit"
"$(dirname "$0")/sources" > "$folder/sources"
tar --create --gzip --file="$folder.tar.gz" --directory="$build" gpu
echo "$1/gpu.tar.gz: $(du -m "$folder.tar.gz" | cut -f 1) MB; unpacked on a machine with a card: tests/gpu/check.sh gpu"
