#!/usr/bin/env bash
# bundle.sh FOLDER - adds to an installation what it needs of the distribution, so that it runs where only glibc is
# there and from wherever it is put, and packs it as FOLDER.tar.gz.
#
#   lib/icot/libs         shared libraries; each file names this folder by a path relative to itself
#   lib/icot/lua          modules for Lua in C (lua/launcher.c looks there)
#   share/icot/lua        modules for Lua in Lua, beside icot
#   share/icot/licences   the licences of all these, and index.txt: from which packages they are
set -euo pipefail
shopt -s extglob globstar nullglob
export LC_ALL=C # names are sorted alike everywhere

here=$(cd "$(dirname "$0")" && pwd)
folder=$(realpath "$1")
libs=$folder/lib/icot/libs lua_c=$folder/lib/icot/lua lua=$folder/share/icot/lua licences=$folder/share/icot/licences

readonly STAND_IN=libhdf5_without_s3.so

die() {
    echo "bundle: $1" >&2
    exit 1
}

for tool in patchelf dpkg-query luajit; do
    command -v $tool > /dev/null || die "$tool is missing; install it (third_party/packages.txt)"
done

# ---- What is taken along -----------------------------------------------------------------------

# glibc is the one thing that must be there. CUDA's libraries belong to a machine with such a device, and are large.
is_left_out() {
    case $1 in
    ld-linux*.so.* | lib@(c|m|dl|pthread|rt|util|resolv|anl|mvec).so.*) ;;
    lib@(cuda|cudart|cudnn*|cublas|cublasLt|cufft|curand|cusolver|cusparse|nccl|nvrtc|nvJitLink|nvToolsExt).so.*) ;;
    *) return 1 ;;
    esac
}

# is_unused LIBRARY NEEDED - Debian's HDF5 can read from Amazon S3, which icot never does. For that alone it needs
# libcurl and libcrypto, and they 27 more (TLS, Kerberos, LDAP, …), 17 MB of what has to be kept safe.
is_unused() {
    case $(basename "$1"):$2 in
    libhdf5*:libcurl*.so.* | libhdf5*:libcrypto.so.*) ;;
    *) return 1 ;;
    esac
}

needed_by() {
    patchelf --print-needed "$1"
}

# place_of NAME FILE - where the loader finds a library for a file.
place_of() {
    ldd "$2" | awk -v name="$1" '$1 == name && $2 == "=>" && $3 ~ "^/" { print $3 }'
}

declare -A origin # of each bundled file, relative to FOLDER: the file that it is a copy of

# take FILE PLACE - copies a file to a place in FOLDER.
take() {
    install -D -m 644 "$1" "$folder/$2"
    origin[$2]=$1
}

# The libraries that a file needs, those that these need, and so on.
take_libraries_of() {
    local name path
    for name in $(needed_by "$1"); do
        if is_left_out "$name" || is_unused "$1" "$name" || [ -n "${origin[lib/icot/libs/$name]:-}" ]; then continue; fi
        path=$(place_of "$name" "$1")
        [ -n "$path" ] || die "$name, which $1 needs, is not there; install it and build again"
        take "$path" "lib/icot/libs/$name"
        take_libraries_of "$path"
    done
}

# The modules that icot's Lua files require and that are not icot's.
take_lua_modules() {
    local found path place
    found=$(luajit "$here/find_modules.lua" "$lua") || exit 1
    while IFS=$'\t' read -r path place; do
        take "$path" "$place"
    done <<< "$found"
}

# ---- Making it relocatable ---------------------------------------------------------------------

# Debugging information and build-id tell in which folder it was compiled.
strip_own() {
    strip --strip-unneeded --remove-section=.note.gnu.build-id "$@"
}

# What HDF5 calls of the libraries that stay behind.
put_stand_in() {
    local library name unused replace
    for library in "$libs"/libhdf5*; do
        unused=() replace=()
        for name in $(needed_by "$library"); do
            is_unused "$library" "$name" || continue
            unused+=("$(place_of "$name" "${origin[lib/icot/libs/$(basename "$library")]}")")
            replace+=(--replace-needed "$name" "$STAND_IN")
        done
        [ ${#unused[@]} -gt 0 ] || continue
        "$here/stand_in.sh" "$library" "$libs/$STAND_IN" "${unused[@]}"
        patchelf "${replace[@]}" "$library"
    done
}

# Everything finds the libraries by itself. DT_RPATH, unlike the newer DT_RUNPATH (--force-rpath chooses), comes before
# LD_LIBRARY_PATH, in which a cluster's modules put an OpenBLAS or HDF5 of another kind. Where CUDA is, is for those to
# say, or it is at its usual place.
set_run_paths() {
    local file path
    for file in "$@"; do
        path="\$ORIGIN/$(realpath --relative-to="$(dirname "$file")" "$libs")"
        [ "$(basename "$file")" != libicot_cuda.so ] || path+=:/usr/local/cuda/lib64
        patchelf --force-rpath --set-rpath "$path" "$file"
    done
}

# The newest version of glibc's symbols that any file asks for.
glibc_needed() {
    readelf --version-info --wide "$@" | grep -oE '\bGLIBC_[0-9.]+' | sort -uV | tail -n 1 | sed 's/GLIBC_//'
}

# ---- Licences ----------------------------------------------------------------------------------

# package_of FILE - the package that it is from. Debian lists some files below /lib, which is /usr/lib.
package_of() {
    local path
    path=$(realpath "$1")
    { dpkg-query -S "$path" || dpkg-query -S "${path#/usr}"; } 2> /dev/null | sed -n '1s/[:,].*//p' || true
}

# What the package says of its licences, and the texts of them that it points to.
take_licence() {
    local package=$1 said=/usr/share/doc/$1/copyright text
    [ -e "$said" ] || die "$said, the licences of a bundled library, is missing; install $package again"
    install -D -m 644 "$said" "$licences/$package"
    for text in $(grep -ohE '/usr/share/common-licenses/[A-Za-z0-9.+-]*[A-Za-z0-9]' "$said" | sort -u); do
        [ ! -e "$text" ] || install -D -m 644 "$text" "$licences/common/$(basename "$text")"
    done
}

take_licences() {
    local place package
    mkdir -p "$licences"
    for place in "${!origin[@]}"; do
        package=$(package_of "${origin[$place]}")
        [ -n "$package" ] || die "${origin[$place]} is from no package, so its licence is not known"
        take_licence "$package"
        dpkg-query -W -f="$place\t\${Package} \${Version}\tsource: \${source:Package} \${source:Version}\n" "$package" |
            head -n 1 >> "$licences/index.txt"
    done
    sort -o "$licences/index.txt" "$licences/index.txt"
}

# ---- Packing -----------------------------------------------------------------------------------

# The time that all files are given: that of the commit, so that the same source gives the same bytes.
source_date() {
    echo "${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct 2> /dev/null || stat -c %Y "$here/../../README.md")}"
}

# gzip and not xz: 27 MB instead of 15, but every machine can unpack it, the barest too, and it takes 3 s, not 27.
pack() {
    tar --create --format=gnu --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
        --mtime="@$(source_date)" --directory="$(dirname "$folder")" "$(basename "$folder")" |
        gzip --no-name > "$folder.tar.gz.partial"
    mv "$folder.tar.gz.partial" "$folder.tar.gz"
}

megabytes() {
    awk '{ printf "%.1f MB", $1 / 1e6 }'
}

for text in "$here"/../../@(README.md|LICEN[CS]E*|COPYING*); do
    install -m 644 "$text" "$folder"
done

own=("$folder/bin/icot" "$folder"/lib/icot/*.so)
strip_own "${own[@]}"
take_lua_modules
for file in "${own[@]}" "$lua_c"/**/*.so; do
    take_libraries_of "$file"
done
take_licences
put_stand_in
all=("${own[@]}" "$libs"/* "$lua_c"/**/*.so)
set_run_paths "${all[@]}"
pack

echo "$1.tar.gz: $(stat -c %s "$folder.tar.gz" | megabytes), unpacked $(du -sb "$folder" | megabytes)," \
    "for $(uname -m) with glibc $(glibc_needed "${all[@]}") or newer"
