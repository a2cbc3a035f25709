#!/bin/busybox sh
# Pid 1 of the guest. First it leaves the initramfs, whose root cannot be pivoted away from.
B=/bin/busybox
if [ ! -e /inside ]; then
    $B mkdir -p /new
    $B mount -t tmpfs -o size=1500m root /new
    $B cp -a /bin /modules /tests /proc /sys /dev /tmp /etc /init /new/
    $B touch /new/inside
    exec $B switch_root /new /init
fi
$B --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t cgroup2 cgroup /sys/fs/cgroup
for module in /modules/*.ko; do insmod "$module" || echo "vm: cannot load $module"; done
ip link set lo up
echo 'root:x:0:0:root:/root:/bin/sh' > /etc/passwd
echo 'root:x:0:' > /etc/group
mkdir -p /root /var/lib /var/tmp /run /usr/bin
ln -s /bin/busybox /usr/bin/busybox
export HOME=/root TMPDIR=/tmp LAMINA_BINARY=/bin/lamina
failed=0

# check WHAT EXPECTED ACTUAL
check() {
    if [ "$2" = "$3" ]; then echo "vm: passed: $1"; else echo "vm: FAILED: $1: expected '$2', got '$3'"; failed=1; fi
}

echo "vm: kernel $(uname -r), controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
check "run prints" "hello 1" "$(lamina run --rm minimal sh -c 'echo hello $$')"
check "exit code" 7 "$(lamina run --rm minimal sh -c 'exit 7'; echo $?)"
check "hostname" box "$(lamina run --rm --hostname box minimal hostname)"
check "cgroup namespace" "0::/" "$(lamina run --rm minimal cat /proc/self/cgroup)"
check "pids limit" 64 "$(lamina run --rm --pids-limit 64 minimal cat /sys/fs/cgroup/pids.max)"
check "memory limit" 33554432 "$(lamina run --rm -m 32m minimal cat /sys/fs/cgroup/memory.max)"
check "cpu limit" "150000 100000" "$(lamina run --rm --cpus 1.5 minimal cat /sys/fs/cgroup/cpu.max)"
check "oom kill" 137 "$(lamina run --rm -m 16m --memory-swap 16m minimal sh -c 'tail /dev/zero' >/dev/null 2>&1; echo $?)"
check "device refused" 1 "$(lamina run --rm minimal sh -c 'mknod /tmp/mem c 1 1 && cat /tmp/mem' >/dev/null 2>&1; echo $?)"
check "device allowed" 0 "$(lamina run --rm minimal sh -c 'mknod /tmp/zero c 1 5 && head -c 4 /tmp/zero' >/dev/null 2>&1; echo $?)"
check "capabilities" 00000000a80425fb "$(lamina run --rm minimal sh -c "grep CapBnd /proc/self/status" | tr -d '\t' | cut -d: -f2)"
check "seccomp" 2 "$(lamina run --rm minimal sh -c "grep ^Seccomp: /proc/self/status" | tr -d '\t' | cut -d: -f2)"
# This kernel has EROFS and loop devices, and no data-only layers: the probe has to find that out.
check "storage mode" plain "$(lamina info --format '{{.StorageMode}}')"
check "storage reason" yes "$(lamina info --format '{{.StorageReason}}' | grep -q 'mode erofs does not work here: .*\(attribute\|data-only\)' && echo yes)"
check "storage mode erofs refused" 125 "$(lamina --storage-mode erofs run --rm minimal true >/dev/null 2>&1; echo $?)"
check "probe leaves no loop device" 0 "$(cat /sys/block/loop*/loop/backing_file 2>/dev/null | wc -l)"
echo "vm: storage: $(lamina info --format '{{.StorageReason}}')"
# On a tmpfs of this kernel there are no attributes of users, on ext4 there are.
truncate -s 200M /tmp/disk && mke2fs -q -F /tmp/disk && mkdir -p /tmp/ext && mount -t ext4 -o loop /tmp/disk /tmp/ext
check "storage mode on ext4" plain "$(lamina --root /tmp/ext/store info --format '{{.StorageMode}}')"
check "storage reason on ext4" yes "$(lamina --root /tmp/ext/store info --format '{{.StorageReason}}' | grep -q 'data-only' && echo yes)"
echo "vm: storage on ext4: $(lamina --root /tmp/ext/store info --format '{{.StorageReason}}')"
check "run on ext4" ok "$(lamina --root /tmp/ext/store run --rm minimal echo ok)"
umount /tmp/ext; rm /tmp/disk
check "no cgroup left" "" "$(find /sys/fs/cgroup/lamina -mindepth 1 -type d 2>/dev/null)"
check "no mount left" 0 "$(grep -c ' /run/lamina' /proc/self/mountinfo)"

for program in /tests/*; do
    [ -e "$program" ] || continue
    # Of the command line what the kernel has a part in: the rest is the same everywhere.
    case "$program" in
        */cli.cli) themes="alter:: exec:: health:: orphans:: pause:: restart:: watch::" ;;
        *) themes=privileged_ ;;
    esac
    if timeout 300 "$program" $themes --test-threads=2 --nocapture > /tmp/log 2>&1; then
        tests=$(grep -c '^test .*privileged_' /tmp/log)
        if [ "$tests" = 0 ]; then echo "vm: SKIP ${program##*/}: it has no privileged tests"; else echo "vm: passed: ${program##*/}, $tests tests"; fi
    else
        echo "vm: FAILED: ${program##*/}"
        grep -A 8 ' panicked at ' /tmp/log
        tail -n 60 /tmp/log
        failed=1
    fi
    grep 'SKIP' /tmp/log | sed 's/^/vm: /'
done
echo "vm: $(cut -d. -f1 /proc/uptime) s since the kernel started"

if [ "$failed" = 0 ]; then echo "vm: ok"; else echo "vm: failed"; fi
sync
poweroff -f
