#!/bin/bash
# What nextest.toml runs a test with: in a guest of its own, with two empty disks of 2 GiB. The test finds their paths in
# ZFS_GUEST_DISKS, and everything else where it is on this machine.
# Where no guest is built and the machine has OpenZFS itself: on the machine, with files as disks.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if "$here/build.sh" built "$("$here/guest.sh" backend)" || [ ! -c /dev/zfs ]; then
  export ZFS_GUEST_DISKS="/dev/vda /dev/vdb"
  exec "$here/guest.sh" run -e -d 2G -d 2G -- "$@"
fi
d=$(mktemp -d "${TMPDIR:-/tmp}/flocker-zfs-disks-XXXXXX")
clean() {    # also pools that a failed test left on them
  zpool list -H -o name | while read -r p; do zpool status -P "$p" | grep -qF "$d/" && zpool destroy -f "$p"; done || true
  rm -rf "$d"
}
trap clean EXIT; trap 'exit 130' INT TERM HUP
truncate -s 2G "$d/0" "$d/1"
ZFS_GUEST_DISKS="$d/0 $d/1" "$@"
