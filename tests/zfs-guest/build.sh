#!/bin/bash
# Builds bootable guests with OpenZFS on Debian 12. Installs nothing: packages are unpacked below the cache.
#   build.sh uml|tcg           builds, unless what is there was made of the same versions by the same scripts
#   build.sh built uml|tcg     whether these scripts built one; asks nobody
# uml: Debian's user-mode-linux kernel; a guest is ordinary processes of the host, nearly as fast, with one CPU.
# tcg: Debian's cloud kernel in qemu, which emulates every instruction: slower, several CPUs, runs on any x86-64.
# In the cache ($ZFS_GUEST_CACHE): {uml,tcg}/{kernel,initrd,made-of}, and sysroot: headers and libraries of OpenZFS.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
OUT=${ZFS_GUEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/flocker/zfs-guest}
SUITE=bookworm ZFS_SUITE=bookworm-backports   # OpenZFS 2.3: the first series that speaks JSON (zfs list -j)
set -E; trap 'echo "error: line $LINENO of build.sh failed: $BASH_COMMAND" >&2' ERR
log() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }
fail() { printf 'error: %s\nhint: %s\n' "$1" "$2" >&2; exit 1; }
scripts=$(cat "$here/build.sh" "$here/init.sh" | sha256sum | cut -d' ' -f1)
built() { [ -f "$OUT/$1/initrd" ] && [ -d "$OUT/sysroot" ] && grep -qx "scripts $scripts" "$OUT/$1/made-of" 2>/dev/null; }
[ "${1:-}" != built ] || { built "${2:?uml or tcg}" || exit 1; exit 0; }
want=${1:?uml or tcg}
mkdir -p "$OUT"; cd "$OUT"
exec 9>lock; flock 9                          # two checkouts may want one at once
W=$OUT/work; rm -rf "$W"; mkdir -p "$W"/{debs,apt/lists/partial,apt/cache/archives/partial}; : >"$W/apt/status"
trap 'rm -rf "$W"' EXIT; trap 'exit 130' INT TERM HUP

# ---- a private apt: neither the host's sources nor its list of packages are touched ----
mirror() {   # the Debian mirror that this machine uses
  { find /etc/apt/sources.list /etc/apt/sources.list.d \( -name '*.list' -o -name '*.sources' \) -exec cat {} + 2>/dev/null || true; } |   # either may not exist
    awk '$1 == "deb" || $1 == "URIs:" {for (i = 2; i <= NF; i++) if ($i ~ /^http.*\/debian\/?$/) {sub(/\/$/, "", $i); print $i; exit}}'
}
M=${MIRROR:-$(mirror)}
[ -n "$M" ] || fail "the apt sources of this machine name no Debian mirror" "set MIRROR=http://deb.debian.org/debian"
key=/usr/share/keyrings/debian-archive-keyring.gpg
cat >"$W/apt/sources.list" <<S
deb [signed-by=$key] $M $SUITE main
deb [signed-by=$key] $M $ZFS_SUITE main contrib
S
cat >"$W/apt/apt.conf" <<S
Dir::Etc::sourcelist "$W/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "$W/apt";
Dir::State::lists "$W/apt/lists";
Dir::State::status "$W/apt/status";
Dir::Cache "$W/apt/cache";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
S
export APT_CONFIG=$W/apt/apt.conf
apt-get update -qq || fail "the package lists of $SUITE could not be fetched from $M" "set MIRROR to a Debian mirror that this machine reaches"
newest() { apt-cache madison "$1" | awk -F' *[|] *' -v r="$2" '$3 ~ r {print $2; exit}'; }
get() { (cd "$W/debs" && apt-get download -qq "$@") || fail "could not download $*" "try again, or set MIRROR to another Debian mirror"; }
zver=$(newest zfs-dkms "$ZFS_SUITE")
[ -n "$zver" ] || fail "$ZFS_SUITE of $M has no zfs-dkms" "set MIRROR to a mirror that has $ZFS_SUITE contrib"

# What there is, if it was made of the same, is kept.
case $want in
  uml) kver=$(newest user-mode-linux "$SUITE") ;;
  tcg) kver=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: linux-image-\([0-9].*\)/\1/p' | head -1) ;;
  *) fail "there is no backend \`$want\`" "uml or tcg" ;;
esac
made_of=$(printf 'scripts %s\nkernel %s\nopenzfs %s' "$scripts" "$kver" "$zver")
log "kernel $kver ($want), OpenZFS $zver"
if built "$want" && [ "$(cat "$want/made-of")" = "$made_of" ]; then log "the guest in $OUT/$want is made of these"; exit 0; fi

# ---- userland, and a sysroot for programs of the host ----------------------
get {zfs-dkms,zfsutils-linux,libzfslinux-dev,libnvpair3linux,libuutil3linux,libzfs6linux,libzpool6linux,libzfsbootenv1linux}="$zver"
S=$W/sysroot; mkdir "$S" "$W/zsrc"
for d in "$W"/debs/*.deb; do case $d in *zfs-dkms*) dpkg -x "$d" "$W/zsrc" ;; *) dpkg -x "$d" "$S" ;; esac; done
for d in lib sbin bin; do                                    # merge into /usr, as on the host
  [ ! -d "$S/$d" ] || { mkdir -p "$S/usr/$d"; cp -a "$S/$d/." "$S/usr/$d/"; rm -rf "${S:?}/$d"; }
done
L=usr/lib/x86_64-linux-gnu
for l in "$S/$L"/*.so; do ln -sfn "$(basename "$(readlink "$l")")" "$l"; done
sed -i "s#^prefix=.*#prefix=$OUT/sysroot/usr#; s#^libdir=.*#libdir=$OUT/sysroot/$L#" "$S/$L"/pkgconfig/*.pc

# ---- helpers --------------------------------------------------------------
# zfs_modules SRC OBJ [configure/make args]: builds spl.ko and zfs.ko into $W
zfs_modules() {
  local src=$1 obj=$2; shift 2
  mv "$W"/zsrc/usr/src/zfs-[0-9]* "$W/zfs"
  (cd "$W/zfs" && ./configure --disable-dependency-tracking --with-config=kernel --with-linux="$src" --with-linux-obj="$obj" "$@") \
    >"$W/configure.log" 2>&1 || { tail -30 "$W/configure.log" >&2; fail "OpenZFS $zver cannot be configured for $kver" "its last words are above"; }
  log "configured"
  make -j"$(nproc)" -C "$W/zfs/module" modules KBUILD_MODPOST_WARN=1 >"$W/make.log" 2>&1 ||
    { tail -30 "$W/make.log" >&2; fail "OpenZFS $zver does not compile for $kver" "its last words are above"; }
  cp "$W"/zfs/module/{spl,zfs}.ko "$W/"; strip --strip-debug "$W"/*.ko
  log "modules built"
}
# initrd MODTREE VERSION MODULE...: busybox, init, and layer/ (OpenZFS, and the closure of the modules)
initrd() {
  local tree=$1 ver=$2 r=$W/ird lay=$W/ird/layer/usr m f; shift 2
  mkdir -p "$r"/{bin,dev,proc,sys,m,newroot} "$lay"/{sbin,lib/x86_64-linux-gnu}
  cp /bin/busybox "$r/bin/"; ln -s busybox "$r/bin/sh"; install -m755 "$here/init.sh" "$r/init"
  cp -a "$S"/usr/sbin/{zfs,zpool,zdb,mount.zfs,zstream} "$lay/sbin/"
  cp -a "$S/$L"/lib*.so.[0-9]* "$lay/lib/x86_64-linux-gnu/"
  mkdir -p "$tree/lib/modules/$ver/extra"; cp "$W"/{spl,zfs}.ko "$tree/lib/modules/$ver/extra/"
  depmod -b "$tree" "$ver"
  for m in "$@"; do modprobe -d "$tree" -S "$ver" --show-depends "$m" 2>/dev/null | awk '/^insmod/{print $2}' || true; done | sort -u |
    while read -r f; do install -Dm644 "$f" "$lay/lib/modules/$ver/${f#*/lib/modules/"$ver"/}"; done
  cp "$tree/lib/modules/$ver"/modules.{builtin,order} "$lay/lib/modules/$ver/"
  depmod -b "$lay" "$ver" 2>/dev/null
  [ -f "$lay/lib/modules/$ver/extra/zfs.ko" ] || fail "the module zfs is not in the initrd" "this is a mistake in build.sh"
  (cd "$r" && find . | cpio -o -H newc --quiet) | zstd -q -T0 -6 -f -o "$W/initrd"
}
# Besides ZFS: what Docker needs, and what disturbs disks and networks.
others="overlay bridge br_netfilter veth macvlan vxlan dummy tun ipv6 nf_tables nft_compat nft_ct nft_nat nft_masq nft_chain_nat
  nf_conntrack_netlink xt_conntrack xt_MASQUERADE xt_addrtype xt_nat xt_comment xt_mark xt_multiport xt_tcpudp xt_REDIRECT xt_LOG ip_vs xt_ipvs
  iptable_nat iptable_filter iptable_mangle iptable_raw ip6table_nat ip6table_filter ip6table_mangle ipt_REJECT ip6t_REJECT nft_reject_inet
  sch_netem loop null_blk dm_mod dm_flakey dm_delay brd xfs btrfs"

build_uml() {
  local ver series src skip
  get "user-mode-linux=$kver"; dpkg -x "$W"/debs/user-mode-linux_*.deb "$W/pkg"
  cp "$W/pkg/usr/bin/linux.uml" "$W/kernel"
  ver=$("$W/kernel" --version | tail -1) series=${ver%.*}
  # There is no package with its headers, so they come from the source of exactly this version.
  src=$(apt-cache madison "linux-source-$series" | awk -F' *[|] *' -v v="$ver-" 'index($2, v)==1 {print $2; exit}')
  [ -n "$src" ] || fail "$SUITE has no linux-source-$series of version $ver" "wait until it has, or use --backend tcg"
  get "linux-source-$series=$src"; dpkg -x "$W"/debs/linux-source-*.deb "$W/src"
  src=$W/src/linux-source-$series
  # Of its 80,000 files the headers and what configures are needed.
  skip=(); for d in drivers sound fs net samples Documentation tools/testing tools/perf arch/{a,c,h,i,l,m,n,o,p,r,s}'*'; do
    for e in c h S rst txt json yaml dts dtsi; do skip+=("--exclude=linux-source-$series/$d/*.$e"); done
  done
  tar xf "$W"/src/usr/src/*.tar.xz -C "$W/src" --anchored "${skip[@]}"
  log "headers unpacked"
  "$W/kernel" --showconfig >"$src/.config"
  { make -C "$src" ARCH=um olddefconfig && make -C "$src" ARCH=um -j"$(nproc)" modules_prepare; } >"$W/prepare.log" 2>&1 ||
    { tail "$W/prepare.log" >&2; fail "the headers of linux $ver cannot be made" "its last words are above"; }
  # Nor does a package have its Module.symvers: list what the kernel exports. It has no symbol versions; the loader checks again.
  objcopy -O binary --only-section=__ksymtab_strings "$W/kernel" "$W/ks.bin"
  tr '\0' '\n' <"$W/ks.bin" | awk '/^[A-Za-z_][A-Za-z0-9_]*$/{printf "0x00000000\t%s\tvmlinux\tEXPORT_SYMBOL\t\n",$1}' | sort -u >"$src/Module.symvers"
  ARCH=um zfs_modules "$src" "$src" KERNEL_ARCH=um
  mkdir -p "$W/tree/lib/modules"; mv "$W/pkg/usr/lib/uml/modules/$ver" "$W/tree/lib/modules/"
  # shellcheck disable=SC2086
  initrd "$W/tree" "$ver" $others zfs
}

build_tcg() {
  local src obj common=${kver%-cloud-amd64}-common
  get "linux-image-$kver" "linux-headers-$kver" "linux-headers-$common" "linux-kbuild-${kver%.*}" linux-compiler-gcc-12-x86
  for p in "$W"/debs/linux-{headers,kbuild,compiler}*.deb; do dpkg -x "$p" "$W/dev"; done
  dpkg -x "$W"/debs/linux-image-*.deb "$W/tree"
  src=$W/dev/usr/src/linux-headers-$common obj=$W/dev/usr/src/linux-headers-$kver
  sed -i "s#/usr/src/#$W/dev/usr/src/#" "$obj/Makefile"                    # relocate
  sed -i '/^CONFIG_DEBUG_INFO/d' "$obj/include/config/auto.conf"           # no -g: faster, smaller
  zfs_modules "$src" "$obj"
  cp "$W/tree/boot/vmlinuz-$kver" "$W/kernel"
  # shellcheck disable=SC2086
  initrd "$W/tree" "$kver" virtio_pci virtio_blk virtio_net virtio_console virtio_rng virtiofs $others zfs
}

build_"$want"
[ -f id ] || ssh-keygen -q -t ed25519 -N '' -f id
[ -f hostkey ] || dropbearkey -t ed25519 -f hostkey >/dev/null 2>&1
# From here on nothing takes time. The note goes first and comes last: without it there is no guest.
rm -rf "${want:?}" sysroot; mkdir "$want"
mv "$S" sysroot; mv "$W/kernel" "$W/initrd" "$want/"; printf '%s\n' "$made_of" >"$want/made-of"
log "built: kernel $(stat -L -c %s "$want/kernel") bytes, initrd $(stat -c %s "$want/initrd") bytes"
