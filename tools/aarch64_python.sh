#!/usr/bin/env bash
# Debian's Python for aarch64, with its headers and what it needs down to the C library, unpacked into
# a folder. Nothing is installed: the system's own packages and architectures stay as they are.
# Usage: aarch64_python.sh VERSION DIR, of which the system's package sources have the version.
set -euo pipefail
version=${1:?usage: aarch64_python.sh VERSION DIR}
root=${2:?usage: aarch64_python.sh VERSION DIR}
[ -e "$root/.complete" ] && exit

mkdir -p "$root/apt/lists/partial" "$root/apt/archives/partial"
root=$(cd "$root" && pwd)
# As if nothing were installed, so that what it depends on comes, too.
apt=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::Lists="$root/apt/lists"
  -o Dir::State::Status=/dev/null -o Dir::Cache="$root/apt" -o Debug::NoLocking=1 -o APT::Sandbox::User=root)
"${apt[@]}" update
"${apt[@]}" install --yes --download-only --no-install-recommends \
  "python$version" "libpython$version-dev" libstdc++6 </dev/null >/dev/null
for package in "$root"/apt/archives/*.deb; do dpkg-deb --extract "$package" "$root"; done
# The emulator would show this machine's processors, of which libraries for aarch64 make no sense.
mkdir -p "$root/proc"
for processor in 0 1; do
  printf 'processor\t: %s\nFeatures\t: fp asimd aes pmull sha1 sha2 crc32 atomics\nCPU implementer\t: 0x41
CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n' "$processor"
done >"$root/proc/cpuinfo"
[ -e "$root/lib" ] || ln -s usr/lib "$root/lib"
rm -r "$root/apt"
touch "$root/.complete"
