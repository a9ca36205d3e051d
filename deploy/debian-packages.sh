#!/bin/sh
# Sees to the Debian packages that a make target needs: installs what is missing when root, else prints
# the exact command. usage: sh deploy/debian-packages.sh python|run|observe|check|test|windows|installer|load
set -eu

PATH="$PATH:/usr/sbin:/sbin" # where ldconfig is, which users other than root do not have
missing=""
need() { # need PROGRAM PACKAGE: the package is missing when the program is not on the path
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need_library() { # need_library SONAME PACKAGE
    ldconfig -p 2>/dev/null | grep -q "$1" || missing="$missing $2"
}

desktop_packages() { # a private desktop, for a machine without a display
    need Xvfb xvfb
    need openbox openbox
    need xterm xterm
    need xclock x11-apps
    need pulseaudio pulseaudio
    need_library libpulse.so.0 libpulse0
}

python="${PYTHON:-python3}"
if ! command -v "$python" >/dev/null 2>&1; then
    echo "There is no $python here. Name a Python of 3.11 or newer with: make PYTHON=python3.12 ..." >&2
    exit 1
fi
"$python" -c 'import ensurepip' 2>/dev/null || missing="$missing $(basename "$python")-venv"

case "${1:-}" in
python) ;;
run)
    case "${ARGS:-}" in *testpattern*) ;; *) [ -n "${DISPLAY:-}" ] || desktop_packages ;; esac
    ;;
observe) need prometheus prometheus ;;
check) need npm npm ;;
load)
    need haproxy haproxy
    need redis-check-rdb redis-tools
    ;;
test)
    desktop_packages
    need chromium chromium
    need firefox-esr firefox-esr
    need xdotool xdotool
    need xclip xclip
    need xdpyinfo x11-utils
    need xrandr x11-xserver-utils
    need pactl pulseaudio-utils
    need redis-check-rdb redis-tools
    need pipewire-pulse pipewire-pulse
    need wireplumber wireplumber
    need dbus-run-session dbus-daemon
    need ip iproute2
    need iptables iptables
    need faketime faketime
    need ps procps
    need turnserver coturn
    need promtool prometheus
    need haproxy haproxy
    need npm npm
    need gcc "gcc libc6-dev"
    if ! { gst-inspect-1.0 --exists webrtcbin && gst-inspect-1.0 --exists avdec_h264; } 2>/dev/null; then
        missing="$missing gstreamer1.0-tools gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-nice"
        missing="$missing gstreamer1.0-libav python3-gi gir1.2-gst-plugins-bad-1.0"
    fi
    [ -d /usr/share/fonts/truetype/dejavu ] || missing="$missing fonts-dejavu-core"
    ;;
installer)
    need makensis nsis
    need osslsigncode osslsigncode
    ;;
windows)
    need makensis nsis
    need osslsigncode osslsigncode
    need openssl openssl
    need wine "wine wine64"
    need x86_64-w64-mingw32-gcc gcc-mingw-w64-x86-64-win32
    ;;
*)
    echo "usage: sh deploy/debian-packages.sh python|run|observe|check|test|windows|installer|load" >&2
    exit 2
    ;;
esac

[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "Missing here, by their Debian names:$missing. Install them with this system's package manager." >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "System packages are missing. Install them, then run make again:" >&2
    echo "    sudo apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
echo "Installing system packages:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# shellcheck disable=SC2086 # the list is meant to be split
apt-get -qq install -y --no-install-recommends $missing >/dev/null
