#!/bin/sh
# Inside a guest: starts dockerd, with its data in memory, and runs a command beside it.
#   cargo xtask guest run -m 2048 -d 2G -- tests/zfs-guest/with-docker.sh docker version
set -e
mkdir -p /var/lib/docker; mount -t tmpfs tmpfs /var/lib/docker
# The kernel of uml has no nf_tables for IPv4; the link is changed in this guest alone.
{ iptables -t nat -N probe && iptables -t nat -X probe; } >/dev/null 2>&1 ||
  for c in iptables ip6tables; do ln -sf /usr/sbin/$c-legacy /etc/alternatives/$c; done
dockerd >/run/dockerd.log 2>&1 &
until docker version >/dev/null 2>&1; do
  kill -0 $! 2>/dev/null || { tail -5 /run/dockerd.log >&2; exit 125; }
  sleep 0.2
done
exec "$@"
