#!/bin/sh
# The first process of a guest. Stage 1 runs from the initrd and makes a root file system:
#   overlay( tmpfs | /layer of the initrd: OpenZFS and modules | the host's /, read-only, over hostfs (uml) or virtiofs (tcg) )
# Stage 2 runs in it: network, the zfs module, then a command or an ssh server.
# Kernel command line: vm.job=DIR vm.id=N vm.lan=N vm.rw=DIR vm.ssh=1 vm.mod=a,b,c vm.trace=1
B=/bin/busybox
now() { [ -z "$vm_trace" ] || { read -r u _ </proc/uptime; echo "[guest $u] $*" >/dev/console; }; }
for a in $($B cat /proc/cmdline 2>/dev/null || { $B mount -t proc proc /proc && $B cat /proc/cmdline; }); do
  case $a in vm.*=*) k=${a%%=*}; eval "vm_${k#vm.}=\${a#*=}" ;; esac
done
case $($B uname -r) in *-*) uml= ;; *) uml=1 ;; esac

if [ "$1" != stage2 ]; then
  $B mount -t sysfs sysfs /sys; $B mount -t devtmpfs dev /dev
  now stage1
  $B ln -s /layer/usr/lib /lib
  $B mkdir -p /m/host /m/rw
  if [ -n "$uml" ]; then $B modprobe overlay; $B mount -t hostfs -o ro,/ host /m/host
  else $B modprobe -a virtio_pci virtio_console virtiofs overlay virtio_blk virtio_net; $B mount -t virtiofs -o ro hostroot /m/host
  fi || exec $B poweroff -f
  $B mount -t tmpfs -o mode=755 tmpfs /m/rw
  $B mkdir /m/rw/u /m/rw/w
  $B mv /layer /m/rw/layer; $B cp $B /m/rw/layer/usr/sbin/busybox; $B cp /init /m/rw/layer/usr/sbin/vm-init
  $B mount -t overlay -o lowerdir=/m/rw/layer:/m/host,upperdir=/m/rw/u,workdir=/m/rw/w root /newroot || exec $B poweroff -f
  if [ -n "$vm_rw" ]; then
    if [ -n "$uml" ]; then $B mount -t hostfs -o "$vm_rw" rw "/newroot$vm_rw"; else $B mount -t virtiofs rw "/newroot$vm_rw"; fi
  fi
  now root
  for d in proc sys dev; do $B mount --move /$d /newroot/$d; done
  exec $B switch_root /newroot /usr/sbin/busybox sh /usr/sbin/vm-init stage2
fi

B=/usr/sbin/busybox
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
# uml 6.1 loses zmm and ymm16-31 across a signal handler that uses them: keep glibc's memcpy & co. on AVX2
[ -z "$uml" ] || export GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW
$B mount -t tmpfs -o mode=755 tmpfs /run
$B mkdir -p /run/lock /dev/pts /dev/shm /run/job
$B mount -t devpts devpts /dev/pts; $B mount -t tmpfs tmpfs /dev/shm
$B mount -t cgroup2 cgroup2 /sys/fs/cgroup
$B ln -sf /proc/self/fd /dev/fd; $B ln -sf /proc/self/fd/0 /dev/stdin
$B ln -sf /proc/self/fd/1 /dev/stdout; $B ln -sf /proc/self/fd/2 /dev/stderr
id=${vm_id:-1} net=10.77.${vm_lan:-0}
$B hostname "node$id"
{ echo "127.0.0.1 localhost node$id"; for n in 1 2 3 4 5 6 7 8 9; do echo "$net.$n n$n"; done; } >/etc/hosts
$B ip link set lo up
lan=eth0; [ -z "$uml" ] || lan=vec0
$B ip addr add "$net.$id/24" dev $lan 2>/dev/null && $B ip link set $lan up
now network
for m in zfs $(echo "$vm_mod" | $B tr , ' '); do $B modprobe "$m"; done
now zfs
# libzfs waits for udev after it labelled a whole disk; there is no udevd here, so say that every disk has its links
$B mkdir -p /run/udev/data
for maj in $($B awk '$2=="virtblk"||$2=="ubd"{print $1}' /proc/devices); do
  for m in $($B seq 0 127); do echo S:null >"/run/udev/data/b$maj:$m"; done
done
[ -z "$uml" ] || for x in a b c d; do for p in "" 1 9; do $B ln -s ubd$x$p /dev/vd$x$p; done; done    # the same names in both
if [ -n "$uml" ]; then out=/dev/tty1; $B stty -F $out raw -echo; $B mount -t hostfs -o "$vm_job" job /run/job; rc=/run/job/rc
else for p in /sys/class/virtio-ports/*; do case $($B cat "$p/name") in out) out=/dev/${p##*/} ;; rc) rc=/dev/${p##*/} ;; esac; done; fi
if [ -n "$vm_ssh" ]; then
  $B mkdir -p /root/.ssh; $B cp "$vm_job/id.pub" /root/.ssh/authorized_keys; $B chmod 700 /root /root/.ssh; $B chmod 600 /root/.ssh/authorized_keys
  $B cp "$vm_job/hostkey" /run/hostkey; $B chmod 600 /run/hostkey
  $B sed -i '/^root:/s#:[^:]*$#:/bin/sh#' /etc/passwd     # not bash: it would read the host's ~/.bashrc at every command
  dropbear -e -r /run/hostkey -s -p 22 -P /run/dropbear.pid
  now ssh
fi
if [ -x "$vm_job/cmd" ]; then
  "$vm_job/cmd" >"$out" 2>&1 </dev/null
  echo $? >"$rc"
  now done
else
  while :; do $B sleep 3600 & wait; done
fi
$B sync; exec $B poweroff -f
