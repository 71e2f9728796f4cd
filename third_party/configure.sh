#!/usr/bin/env bash
# configure.sh - prints, as make variables, how to compile and link against the required libraries.
set -euo pipefail

# variables NAME PACKAGE... - NAME_CFLAGS and NAME_LIBS of the first pkg-config package that exists.
variables() {
    local name=$1 package
    shift
    for package in "$@"; do
        pkg-config --exists "$package" || continue
        echo "${name}_CFLAGS := $(pkg-config --cflags "$package")"
        echo "${name}_LIBS := $(pkg-config --libs "$package")"
        return
    done
    echo "icot: pkg-config knows none of: $*; see third_party/packages.txt" >&2
    exit 1
}

# Several flavours of OpenBLAS can be installed side by side under one soname, and the system picks one
# of them. Only the OpenMP flavour shares a thread pool with our kernels, so its own folder is named to
# pkg-config, and (rpath) to the loader.
flavour=/usr/lib/$(cc -print-multiarch 2> /dev/null || true)/openblas-openmp
if [ -e "$flavour/libopenblas.so" ]; then
    export PKG_CONFIG_PATH="$flavour/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
    echo "BLAS_RPATH := -Wl,-rpath,$flavour"
else
    echo "icot: no OpenMP flavour of OpenBLAS in $flavour; taking the system's own" >&2
fi

variables BLAS openblas
variables HDF5 hdf5-serial hdf5
variables LUAJIT luajit

# cuda - the compiler of CUDA 12 or newer, if there is one that works; optional.
cuda() {
    local nvcc root place
    nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
    [ -x "$nvcc" ] || return 0
    place=$(mktemp -d)
    printf '#include <cublasLt.h>\n#if CUDART_VERSION < 12000\n#error\n#endif\n' > "$place/try.cu"
    if "$nvcc" -c -o "$place/try.o" "$place/try.cu" > /dev/null 2>&1; then
        root=$(dirname "$(dirname "$(realpath "$nvcc")")")
        echo "NVCC := $nvcc"
        [ ! -d "$root/lib64" ] || echo "CUDA_RPATH := -Xlinker -rpath,$root/lib64"
    else
        echo "icot: $nvcc cannot compile for CUDA 12 or newer; building without CUDA" >&2
    fi
    rm -r "$place"
}
cuda

# oneDNN is optional. Debian gives it no pkg-config file.
if echo '#include <dnnl.h>' | cc -E - > /dev/null 2>&1; then
    echo "DNNL_LIBS := -ldnnl"
fi
