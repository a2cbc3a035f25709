//! What a container sees when nobody asked for anything.

use std::fs;

use crate::containers::Container;

fn line<'a>(text: &'a str, start: &str) -> &'a str {
    text.lines()
        .find(|line| line.starts_with(start))
        .unwrap_or_else(|| panic!("no line {start:?} in:\n{text}"))
}

pub(crate) fn privileged_defaults_are_dockers() {
    let container = Container::new(
        "cat /proc/self/status; echo pid $$; echo host $(hostname); echo umask $(umask); cat /proc/self/mountinfo; \
         echo dev $(ls /dev); ls -l /dev; echo cgroup $(cat /proc/1/cgroup); readlink /proc/self/ns/net; \
         echo lo $(cat /sys/class/net/lo/flags); echo dumped; echo env $(env 2>/dev/null)",
    );
    let out = container.run();
    assert_eq!(out.code, 0, "{}", out.text);
    let text = &out.text;
    for (name, value) in [
        ("CapInh:", "0000000000000000"),
        ("CapPrm:", "00000000a80425fb"),
        ("CapEff:", "00000000a80425fb"),
        ("CapBnd:", "00000000a80425fb"),
        ("CapAmb:", "0000000000000000"),
        ("NoNewPrivs:", "0"),
        ("Seccomp:", "2"),
        ("SigIgn:", "0000000000000000"),
        ("SigBlk:", "0000000000000000"),
    ] {
        assert_eq!(
            line(text, name).split_whitespace().nth(1),
            Some(value),
            "{name}"
        );
    }
    assert_eq!(line(text, "pid "), "pid 1");
    assert_eq!(line(text, "host "), "host boxed");
    assert_eq!(line(text, "umask "), "umask 0022");
    assert_eq!(
        line(text, "dev "),
        "dev fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    );
    let host = fs::read_link("/proc/self/ns/net").unwrap();
    assert!(!text.contains(host.to_str().unwrap()));
    assert_eq!(line(text, "lo "), "lo 0x9", "loopback is up");
    mounts(text);
}

fn mounts(text: &str) {
    let of = |target: &str| {
        let line = text
            .lines()
            .find(|line| line.contains(" - ") && line.split(' ').nth(4) == Some(target));
        line.unwrap_or_else(|| panic!("{target} is not mounted:\n{text}"))
    };
    for (target, options, kind) in [
        ("/", "rw,", "overlay"),
        ("/proc", "rw,nosuid,nodev,noexec,relatime", "proc"),
        ("/dev", "rw,nosuid", "tmpfs"),
        ("/dev/pts", "rw,nosuid,noexec,relatime", "devpts"),
        ("/dev/shm", "rw,nosuid,nodev,noexec,relatime", "tmpfs"),
        ("/dev/mqueue", "rw,nosuid,nodev,noexec,relatime", "mqueue"),
        ("/sys", "ro,nosuid,nodev,noexec,relatime", "sysfs"),
        ("/proc/sys", "ro,", "proc"),
        ("/sys/fs/cgroup", "ro,nosuid,nodev,noexec,relatime", ""),
    ] {
        let line = of(target);
        let found = line.split(' ').nth(5).unwrap();
        assert!(found.starts_with(options), "{target}: {line}");
        assert!(line.contains(&format!(" - {kind}")), "{target}: {line}");
    }
    assert!(
        !text.contains("shared:"),
        "no peer group with the host:\n{text}"
    );
    assert!(
        !text.contains("master:"),
        "no peer group with the host:\n{text}"
    );
    assert!(of("/dev").contains("size=65536k"), "{}", of("/dev"));
    assert!(
        of("/dev/pts").contains("gid=5,mode=620,ptmxmode=666"),
        "{}",
        of("/dev/pts")
    );
}

pub(crate) fn privileged_kernel_files_are_masked() {
    let container = Container::new(
        "for p in /proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats \
           /proc/sched_debug /proc/scsi /proc/timer_list /proc/timer_stats /sys/devices/virtual/powercap /sys/firmware; do \
           test -e $p || continue; \
           if test -d $p; then echo $p has $(ls -A $p | wc -l); \
           else echo $p has $(head -c 100 $p | wc -c) $(stat -c '%t:%T' $p); fi; done; \
         for p in /proc/sys/kernel/hostname /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/irq/x /proc/bus/x \
           /sys/x /sys/fs/cgroup/x /sys/fs/cgroup/memory/x; do (echo x > $p) 2>/dev/null && echo wrote $p; done; \
         umount /proc/interrupts 2>/dev/null && echo unmounted; echo done",
    );
    let out = container.run();
    assert!(
        out.text.contains("/proc/interrupts has 0 1:3"),
        "{}",
        out.text
    );
    for line in out.text.lines().filter(|line| line.contains(" has ")) {
        assert!(
            line.ends_with("has 0") || line.ends_with("has 0 1:3"),
            "{line}"
        );
    }
    assert!(!out.text.contains("wrote"), "{}", out.text);
    assert!(!out.text.contains("unmounted"), "{}", out.text);
    assert!(out.text.ends_with("done\n"), "{}", out.text);
}

pub(crate) fn privileged_no_descriptor_leaks() {
    // What a careless caller would leave open over every exec: directories of the host.
    let leaks: Vec<_> = (0..20)
        .map(|_| {
            let dir = fs::File::open("/").unwrap();
            rustix::io::fcntl_setfd(&dir, rustix::io::FdFlags::empty()).unwrap();
            dir
        })
        .collect();
    let out = Container::new("ls /proc/self/fd; ls /proc/1/fd; true").run();
    drop(leaks);
    // ls has one of its own, the directory it reads; and the shell is as it was executed.
    let mut found: Vec<&str> = out.text.split_whitespace().collect();
    found.sort_unstable();
    found.dedup();
    assert!(
        found.iter().all(|fd| ["0", "1", "2", "3"].contains(fd)),
        "{}",
        out.text
    );
    assert_eq!(
        out.text.split_whitespace().filter(|fd| *fd == "3").count(),
        1,
        "{}",
        out.text
    );
}

pub(crate) fn privileged_calls_are_filtered() {
    let mut container = Container::new("");
    container.probe(&["calls"]);
    let out = container.run();
    let expected = "mount 1\numount 1\nfsopen 1\nunshare 1\nnewuser 1\nsethostname 1\nkeyctl 1\n\
                    alg 1\nvsock 1\nunix ok\nchroot ok\nclone3 38\n";
    assert_eq!(out.text, expected);
}

pub(crate) fn privileged_chroot_is_no_way_out() {
    let mut container = Container::new("");
    fs::write(container.path("lower/inside"), "").unwrap();
    container.probe(&["chroot"]);
    let out = container.run();
    let mut names: Vec<&str> = out.text.lines().collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "bin", "dev", "etc", "inside", "jail", "probe", "proc", "sys"
        ]
    );
}

pub(crate) fn privileged_nothing_shows_on_the_host() {
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let container = Container::new("cat /proc/self/mountinfo; sleep 0.05");
    let (created, output) = container.create().unwrap();
    container.start(&created).unwrap();
    let during = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let exe = fs::read_link(format!("/proc/{}/exe", created.pid));
    let out = crate::containers::finish(created, output);
    assert_eq!(before, during);
    assert_eq!(exe.unwrap().to_str(), Some("/bin/busybox"));
    // The host's root is gone from inside, not hidden.
    let host_root = before.lines().next().unwrap().split(' ').nth(2).unwrap();
    let roots = out
        .text
        .lines()
        .filter(|line| line.split(' ').nth(4) == Some("/"));
    assert_eq!(roots.count(), 1, "{}", out.text);
    assert!(
        !out.text
            .lines()
            .any(|l| l.split(' ').nth(2) == Some(host_root)),
        "{}",
        out.text
    );
    assert!(!container.path("bundle/rootfs").exists());
}
