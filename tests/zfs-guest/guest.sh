#!/bin/bash
# Runs guests that build.sh built: machines with OpenZFS, whose / is this machine's /, read-only, under a layer that vanishes.
#   guest.sh run [options] -- COMMAND...   boots, runs a command (a program of this machine) as root, exits as it did
#   guest.sh up [options] NAME             boots in the background, and returns when it can be talked to
#   guest.sh exec NAME COMMAND...          runs a command in it; input, output and exit status pass through
#   guest.sh plug NAME SWITCH              moves its cable to another switch (a number; all begin on 0): guests on different
#                                          switches do not reach each other, this machine reaches all of them
#   guest.sh kill NAME                     cuts its power; `up` with the same name and disks boots it again
#   guest.sh down NAME...                  ends it, and deletes its disks
#   guest.sh backend                       what guests run on here
#   guest.sh clean [LAN|all]               ends every guest that is up on the LAN (this one), and removes whatever is left
#                                          of them; all: on every LAN, and those of `run`
# options: -d SIZE (a disk more: /dev/vda, vdb...)  -m MIB (memory, 1024)  -i ID (1-9, address 10.77.LAN.ID)  -c CPUS (tcg only)
#   -w DIR (a folder of this machine that the guest may write)  -k MODULE,... (loaded at boot)
#   -n (run: joins the LAN)  -e (run: passes the environment)  -t SECONDS (run: the longest it may take, 600)
#   -p PID (up: the guest ends when that process does)  -v (says what happens while it boots)
# From the environment: ZFS_GUEST_BACKEND (uml, tcg), ZFS_GUEST_CACHE, ZFS_GUEST_LAN (0-99; each has switches of its own).
set -euo pipefail
OUT=${ZFS_GUEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/flocker/zfs-guest}
if grep -qw amx_tile /proc/cpuinfo; then usual=tcg; else usual=uml; fi   # uml 6.1 cannot keep the registers of AMX
BACKEND=${ZFS_GUEST_BACKEND:-$usual} LAN=${ZFS_GUEST_LAN:-0} HOME_OF_ALL=${TMPDIR:-/tmp}
K=$OUT/$BACKEND/kernel I=$OUT/$BACKEND/initrd
self=$(realpath "$0")
fail() { printf 'error: %s\nhint: %s\n' "$1" "$2" >&2; exit 125; }

# The folder of a guest, and the names of its cable and switches, name the LAN; leftovers are found by them.
dir() { echo "$HOME_OF_ALL/flocker-zfs-guest.$LAN.${1:?the name of a guest}"; }
address() { echo "10.77.$LAN.$1"; }
switch() { echo "fz${LAN}s$1"; }
cable() { echo "fz${LAN}g$1"; }
known() { [ -f "$(dir "$1")/id" ] || fail "there is no guest \`$1\`" "\`up $1\` starts it"; }
locked() { ( flock 9; "$@" 9<&- ) 9<"$OUT/id.pub"; }     # switches are made and removed by one at a time

mem=1024 cpus=2 id=1 disks=() rw= lan= mods= limit=600 trace= owner= environment=
parse() {
  while getopts m:c:i:d:w:nk:t:p:ev o; do case $o in
    m) mem=$OPTARG ;; c) cpus=$OPTARG ;; i) id=$OPTARG ;; d) disks+=("$OPTARG") ;; w) rw=$(realpath "$OPTARG") ;;
    n) lan=1 ;; k) mods=$OPTARG ;; t) limit=$OPTARG ;; p) owner=$OPTARG ;; e) environment=1 ;; v) trace=1 ;;
    *) exit 125 ;; esac; done
  [ -f "$I" ] || fail "no guest is built in $OUT/$BACKEND" "cargo xtask guest build"
}

# ---- the LAN: a bridge for each switch, a tap for each cable ---------------
bridge() {
  local b; b=$(switch "$1")
  if [ ! -e "/sys/class/net/$b" ]; then
    # All have one address: what the guests know of this machine stays true on each.
    ip link add "$b" address 52:54:00:77:01:00 type bridge
    [ "$1" != 0 ] || ip addr add "$(address 254)/24" dev "$b"
    ip link set "$b" up
  fi
  # Docker closes the FORWARD chain, and with br_netfilter that holds for bridged packets too.
  if [ "$(cat /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null)" = 1 ] && command -v iptables >/dev/null; then
    iptables -w -C FORWARD -i "$b" -o "$b" -j ACCEPT 2>/dev/null || iptables -w -I FORWARD -i "$b" -o "$b" -j ACCEPT
  fi
}
unused() {   # removes switches without a cable
  local b
  for b in /sys/class/net/fz"$LAN"s*; do
    [ -d "$b/brif" ] && [ -z "$(ls "$b/brif")" ] || continue
    b=${b##*/}; ip link del "$b"; iptables -w -D FORWARD -i "$b" -o "$b" -j ACCEPT 2>/dev/null || true
  done
}
cable_in() { # never set a cable down: the driver of uml then spins
  bridge 0; ip link del "$(cable "$id")" 2>/dev/null || true
  ip tuntap add "$(cable "$id")" mode tap; ip link set "$(cable "$id")" master "$(switch 0)" up
}
cable_out() { ip route del "$(address "$1")/32" 2>/dev/null || true; ip link del "$(cable "$1")" 2>/dev/null || true; unused; }
cable_to() {
  bridge "$2"; ip link set "$(cable "$1")" master "$(switch "$2")"
  if [ "$2" = 0 ]; then ip route del "$(address "$1")/32" 2>/dev/null || true
  else ip route replace "$(address "$1")/32" dev "$(switch "$2")" src "$(address 254)"; fi
  unused
}

# ---- one guest --------------------------------------------------------------
share() {    # share DIR SOURCE TAG CACHE: one virtiofsd, and the arguments of qemu that attach it
  "${VIRTIOFSD:-/usr/lib/qemu/virtiofsd}" --socket-path="$1/$3.sock" -o source="$2" -o sandbox=chroot -o cache="$4" \
     --thread-pool-size=1 >"$1/$3.log" 2>&1 </dev/null & echo $! >>"$1/vfs.pids"
  for _ in $(seq 500); do [ -S "$1/$3.sock" ] && break; sleep 0.01; done
  q+=(-chardev "socket,id=$3,path=$1/$3.sock" -device "vhost-user-fs-pci,chardev=$3,tag=$3")
}
launch() {   # launch DIR: needs fd 3 = where the guest's command writes
  local d=$1 n=0 q s memory mac=52:54:00:77:00:0$id
  local app="quiet panic=-1 vm.id=$id vm.lan=$LAN vm.job=$d${rw:+ vm.rw=$rw}${ssh:+ vm.ssh=1}${mods:+ vm.mod=$mods}${trace:+ vm.trace=1}"
  rm -f "$d"/*.sock "$d/rc" "$d/vfs.pids"; echo "$id" >"$d/id"
  [ -z "$lan" ] || locked cable_in
  for s in "${disks[@]}"; do [ -f "$d/disk$n.img" ] || truncate -s "$s" "$d/disk$n.img"; n=$((n+1)); done
  if [ "$BACKEND" = uml ]; then
    # The memory of the guest is a file without a name; in /dev/shm it never meets a disk, where there is room.
    memory=$HOME_OF_ALL; [ "$(df --output=avail -B1M /dev/shm 2>/dev/null | tail -1 || echo 0)" -lt $((2 * mem)) ] || memory=/dev/shm
    # The first of a process namespace: whatever ends it ends every process of the guest, which else would run on untraced.
    # shellcheck disable=SC2206
    q=(env TMPDIR="$memory" unshare --fork --pid --kill-child "$K" mem="${mem}M" initrd="$I" $app
       con=null con0=null,fd:4 con1=null,fd:3 uml_dir="$d/" umid=uml)
    [ -z "$lan" ] || q+=("vec0:transport=tap,ifname=$(cable "$id"),mac=$mac,depth=128,gro=1")
    for ((s = 0; s < n; s++)); do q+=("ubd$s=$d/disk$s.img"); done
  else
    # vendor: SMP Linux distrusts the clock of any other.
    q=(qemu-system-x86_64 -M q35 -accel "tcg,thread=multi,tb-size=512" -cpu max,vendor=GenuineIntel -smp "$cpus" -m "$mem"
       -object memory-backend-memfd,id=mem,size="${mem}M",share=on -machine memory-backend=mem
       -nodefaults -no-user-config -display none -no-reboot -serial "file:$d/console.log" -kernel "$K" -initrd "$I"
       -append "console=ttyS0 mitigations=off nokaslr cryptomgr.notests $app"
       -device virtio-serial-pci -add-fd fd=3,set=1 -chardev file,id=out,path=/dev/fdset/1,append=on -device virtserialport,chardev=out,name=out
       -chardev "file,id=rc,path=$d/rc" -device virtserialport,chardev=rc,name=rc)
    share "$d" / hostroot always            # what this machine changes after the boot may be missed; else it is ten times slower
    [ -z "$rw" ] || share "$d" "$rw" rw none
    [ -z "$lan" ] || q+=(-netdev "tap,id=n1,ifname=$(cable "$id"),script=no,downscript=no" -device "virtio-net-pci,netdev=n1,romfile=,mac=$mac")
    for ((s = 0; s < n; s++)); do q+=(-drive "file=$d/disk$s.img,format=raw,if=none,id=d$s,cache=unsafe,discard=unmap" -device "virtio-blk-pci,drive=d$s,serial=disk$s"); done
  fi
  setsid "${q[@]}" </dev/null >"$d/host.log" 2>&1 4>"$d/console4.log" & echo $! >"$d/pid"; disown
  [ -z "$owner" ] || { echo "$owner" >"$d/owner"; setsid "$self" watch "$d" "$owner" </dev/null >/dev/null 2>&1 3>&- & }
}
alive() {    # whether the process group has a process that has not ended
  { cat /proc/[0-9]*/stat 2>/dev/null || true; } | awk -v group="$1" '{sub(/.*\) /, "")} $3 == group && $1 != "Z" {found = 1} END {exit !found}'
}
stop() {     # stop DIR: every process of the guest, and its cable
  local p
  [ ! -S "$1/ctl.sock" ] || ssh -q -O exit -o ControlPath="$1/ctl.sock" x 2>/dev/null || true
  p=$(cat "$1/pid" 2>/dev/null || true)
  if [ -n "$p" ]; then kill -9 -- "-$p" 2>/dev/null || true; while alive "$p"; do sleep 0.02; done; fi
  [ ! -f "$1/vfs.pids" ] || xargs -r kill <"$1/vfs.pids" 2>/dev/null || true
  p=$(cat "$1/id" 2>/dev/null || true); [ -z "$p" ] || [ ! -e "/sys/class/net/$(cable "$p")" ] || locked cable_out "$p"
}
logs() { cat "$1/host.log" "$1/console4.log" "$1/console.log" 2>/dev/null | grep -vE 'SELinux|mmapper|^$' | tail -"$2" >&2 || true; }
remote() {   # remote DIR: sets `to`, a command that talks to the guest
  to=(ssh -q -i "$OUT/id" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=5 -o ServerAliveInterval=10
    -o ControlPath="$1/ctl.sock" "root@$(address "$(cat "$1/id")")")
}

sub=${1:-help}; [ $# = 0 ] || shift
case $sub in
run)
  parse "$@"; shift $((OPTIND-1)); [ "${1:-}" = -- ] && shift
  [ $# -gt 0 ] || fail "run what?" "guest.sh run -- COMMAND..."
  d=$(mktemp -d "$HOME_OF_ALL/flocker-zfs-guest.$LAN.run-XXXXXX"); trap 'stop "$d"; rm -rf "$d"' EXIT; trap 'exit 130' INT TERM HUP
  owner=$$                                  # should this script be killed, the watch cleans up
  { echo '#!/bin/bash'; [ -z "$environment" ] || declare -x | grep -vE '^declare -x (_|PWD|OLDPWD|SHLVL|TMPDIR|GLIBC_TUNABLES)='
    echo "cd $(printf %q "$PWD") 2>/dev/null || cd /"; printf 'exec'; printf ' %q' "$@"; echo; } >"$d/cmd"; chmod +x "$d/cmd"
  ssh= launch "$d" 3>&1
  pid=$(cat "$d/pid") end=$((SECONDS + limit)) ended=
  while kill -0 "$pid" 2>/dev/null && [ $SECONDS -lt $end ]; do
    sleep 0.05
    # The command has ended. A guest that hangs in a pool without room, as it shuts down, is not waited for.
    [ -n "$ended" ] || [ ! -s "$d/rc" ] || { ended=1; end=$((SECONDS + 5)); }
  done
  [ -z "$trace" ] || logs "$d" 100
  rc=$(cat "$d/rc" 2>/dev/null || true)
  if [ -z "$rc" ]; then
    logs "$d" 40
    if [ $SECONDS -lt $end ]; then fail "the guest died" "its last words are above"; else fail "it took longer than $limit s" "-t SECONDS gives it longer"; fi
  fi
  exit "$rc" ;;
up)
  parse "$@"; shift $((OPTIND-1)); name=${1:?name}; d=$(dir "$name"); lan=1; mkdir -p "$d"
  [ ! -f "$d/pid" ] || ! alive "$(cat "$d/pid")" || fail "the guest \`$name\` is up" "\`down $name\` ends it"
  cp "$OUT/id.pub" "$OUT/hostkey" "$d/"
  ssh=1 launch "$d" 3>"$d/out.log"
  remote "$d"
  end=$((SECONDS + 120)); while [ $SECONDS -lt $end ]; do
    # One connection for all that follows: each costs a tenth of a second.
    (exec 5<>"/dev/tcp/$(address "$id")/22") 2>/dev/null && "${to[@]}" -fNM >/dev/null 2>&1 </dev/null && "${to[@]}" true </dev/null && exit 0
    alive "$(cat "$d/pid")" || break; sleep 0.1
  done
  logs "$d" 40; stop "$d"; rm -rf "$d"; fail "the guest \`$name\` did not come up" "its last words are above" ;;
exec) known "${1:-}"; remote "$(dir "$1")"; shift; exec "${to[@]}" "$@" ;;
kill) known "${1:-}"; stop "$(dir "$1")" ;;
plug) known "${1:-}"; locked cable_to "$(cat "$(dir "$1")/id")" "${2:?the number of a switch}" ;;
down) for n in "$@"; do d=$(dir "$n"); stop "$d"; rm -rf "$d"; done ;;
backend) echo "$BACKEND" ;;
watch) # watch DIR PID: ends the guest when the process is gone
  while [ "$(cat "$1/owner" 2>/dev/null)" = "$2" ] && kill -0 "$2" 2>/dev/null; do sleep 0.5; done
  [ "$(cat "$1/owner" 2>/dev/null)" != "$2" ] || { LAN=${1##*/flocker-zfs-guest.}; LAN=${LAN%%.*}; stop "$1"; rm -rf "$1"; } ;;
clean)
  lans=${1:-$LAN} kept=run; [ "$lans" != all ] || { lans='*'; kept=; }
  for d in "$HOME_OF_ALL"/flocker-zfs-guest.$lans.*; do
    # Guests of `run` end with their commands.
    case $d in *".${kept:-none}-"*) continue ;; esac
    [ -d "$d" ] || continue; LAN=${d##*/flocker-zfs-guest.}; LAN=${LAN%%.*}; stop "$d"; rm -rf "$d"
  done
  for b in /sys/class/net/fz$lans[gs]*; do   # cables and switches whose guests left no folder
    [ -e "$b" ] || continue; b=${b##*/}; ip link del "$b" 2>/dev/null || true
    iptables -w -D FORWARD -i "$b" -o "$b" -j ACCEPT 2>/dev/null || true
  done ;;
*) sed -n '2,/^set/{/^#/p}' "$0"; exit 125 ;;
esac
