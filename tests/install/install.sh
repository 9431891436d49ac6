#!/bin/sh
# install.sh WAY SOURCE BUILD - install BUILD to an empty place, then build and run user/main.c there
# in one of the ways in which a user would: pkg_config, find_package, add_subdirectory.
set -eu
way=$1 source=$2 build=$3
user=$source/tests/install/user

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

install_to() {
    DESTDIR='' cmake --install "$build" --prefix "$1" >"$place/install.log"
    for file in include/allot.h include/allot.hpp share/man/man1/allot.1 share/man/man3/allot.3 bin/allot; do
        [ -e "$1/$file" ] || {
            echo "not installed: $file"
            exit 1
        }
    done
}

build_user() {
    cmake -S "$user" -B "$place/build" "$@" >"$place/configure.log" || {
        cat "$place/configure.log"
        exit 1
    }
    cmake --build "$place/build" >"$place/build.log" 2>&1 || {
        cat "$place/build.log"
        exit 1
    }
    for program in shared static object; do
        "$place/build/$program"
    done
}

case $way in
pkg_config)
    install_to "$place/first"
    mv "$place/first" "$place/prefix" # an installed tree may be moved
    directory=$(dirname "$(find "$place/prefix" -name allot.pc)")
    PKG_CONFIG_PATH=$directory
    export PKG_CONFIG_PATH
    # shellcheck disable=SC2046 # several words are meant
    cc -o "$place/program" "$user/main.c" $(pkg-config --cflags --libs allot)
    LD_LIBRARY_PATH=$(dirname "$directory") "$place/program"
    ;;
find_package)
    install_to "$place/prefix"
    build_user -DCMAKE_PREFIX_PATH="$place/prefix"
    ;;
add_subdirectory)
    build_user -DALLOT_SOURCE_DIRECTORY="$source"
    ;;
*)
    echo "install.sh: no way '$way'" >&2
    exit 2
    ;;
esac
