#!/bin/sh
# Process 1 of the guest. /test/command is what to run, /test/modules what to load before.
export PATH=/usr/sbin:/usr/bin HOME=/root TERM=dumb CI=true
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# Datagrams to closed ports are answered every time, not once a second.
sysctl -qw net.ipv4.icmp_ratelimit=0
ip link set lo up
while read -r module; do
  modprobe "$module" || { echo "vm: no module $module"; power_off 125; }
done </test/modules
cd /test || power_off 125
read -r seconds _ </proc/uptime
echo "vm: $(uname -r) is up after $seconds s"
sh /test/command </dev/null
status=$?
[ $status -eq 0 ] || echo "vm: exit status $status"
power_off $status
