//! Cgroups: limits that hold, counts that are true, and the end of everybody inside.

use std::fs;
use std::path::PathBuf;

use lamina_types::ErrorKind;
use oci_spec::runtime::{LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder};

use crate::containers::{Container, code, finish};
use crate::lifecycle::eventually;

fn unified() -> bool {
    PathBuf::from("/sys/fs/cgroup/cgroup.controllers").exists()
}

pub(crate) fn privileged_limits_are_in_force() {
    let mut container = Container::new("cat /proc/self/cgroup; sleep 0.05");
    let memory = LinuxMemoryBuilder::default()
        .limit(64_i64 << 20)
        .swap(64_i64 << 20);
    let cpu = LinuxCpuBuilder::default()
        .quota(50_000)
        .period(100_000_u64)
        .cpus("0");
    container
        .resources()
        .set_memory(Some(memory.build().unwrap()))
        .set_cpu(Some(cpu.build().unwrap()))
        .set_pids(Some(LinuxPidsBuilder::default().limit(20).build().unwrap()));
    let (created, output) = container.create().unwrap();
    container.start(&created).unwrap();
    // The limits of the cgroups the process is really in, as the host sees them.
    let own = fs::read_to_string(format!("/proc/{}/cgroup", created.pid)).unwrap();
    let value = |controller: &str, file: &str| {
        let line = own.lines().find(|line| {
            let name = line.split(':').nth(1).unwrap();
            name.split(',').any(|one| one == controller) || unified() && name.is_empty()
        });
        let path = line.unwrap().splitn(3, ':').nth(2).unwrap();
        let base = if unified() {
            String::new()
        } else {
            format!("/{controller}")
        };
        let path = format!("/sys/fs/cgroup{base}{path}/{file}");
        fs::read_to_string(&path)
            .unwrap_or_else(|e| panic!("{path}: {e}"))
            .trim()
            .to_owned()
    };
    if unified() {
        assert_eq!(value("memory", "memory.max"), "67108864");
        assert_eq!(value("cpu", "cpu.max"), "50000 100000");
    } else {
        assert_eq!(value("memory", "memory.limit_in_bytes"), "67108864");
        assert_eq!(value("cpu", "cpu.cfs_quota_us"), "50000");
    }
    assert_eq!(value("cpuset", "cpuset.cpus"), "0");
    assert_eq!(value("pids", "pids.max"), "20");
    let out = finish(created, output);
    // Inside, the container is at the root of its own cgroup namespace.
    let own: Vec<&str> = out
        .text
        .lines()
        .filter(|line| line.contains("memory") || unified())
        .collect();
    assert!(own.iter().all(|line| line.ends_with(":/")), "{}", out.text);
}

pub(crate) fn privileged_a_refused_limit_names_its_file() {
    let mut container = Container::new("true");
    let cpu = LinuxCpuBuilder::default()
        .cpus("0-9999999999")
        .build()
        .unwrap();
    container.resources().set_cpu(Some(cpu));
    let error = container.create().map(|_| ()).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("cpuset.cpus to 0-9999999999"), "{said}");
    assert!(
        matches!(
            error.kind(),
            ErrorKind::InvalidArgument | ErrorKind::Internal
        ),
        "{error:?}"
    );
}

pub(crate) fn privileged_out_of_memory_is_counted() {
    let mut container = Container::new("x=$(dd if=/dev/zero bs=1M count=60 2>/dev/null | od -v)");
    let memory = LinuxMemoryBuilder::default()
        .limit(16_i64 << 20)
        .swap(16_i64 << 20);
    container
        .resources()
        .set_memory(Some(memory.build().unwrap()));
    let (created, output) = container.create().unwrap();
    container.start(&created).unwrap();
    drop(output);
    let _ = code(&created);
    let cgroup = created.cgroup.unwrap();
    assert!(cgroup.oom_kills() > 0);
    cgroup.remove().unwrap();
    // And none where nothing happened.
    let container = Container::new("true");
    let (created, output) = container.create().unwrap();
    container.start(&created).unwrap();
    assert_eq!(created.cgroup.as_ref().unwrap().oom_kills(), 0);
    finish(created, output);
}

pub(crate) fn privileged_frozen_and_killed() {
    let container = Container::new("sleep 1000 & sleep 1000 & wait");
    let (created, _output) = container.create().unwrap();
    container.start(&created).unwrap();
    let cgroup = created.cgroup.clone().unwrap();
    let text = serde_json::to_string(&cgroup).unwrap();
    let cgroup: lamina_runtime::Cgroup = serde_json::from_str(&text).unwrap();
    cgroup.freeze().unwrap();
    cgroup.thaw().unwrap();
    cgroup.kill_all().unwrap();
    assert_eq!(code(&created), 128 + 9);
    cgroup.remove().unwrap();
    eventually("the directories are gone", || {
        cgroup.directories().all(|dir| !dir.exists())
    });
    cgroup.remove().unwrap();
}

pub(crate) fn privileged_devices_are_denied() {
    let out = Container::new(
        "mknod /mem c 1 1 && (head -c 1 /mem >/dev/null) 2>&1; mknod /disk b 7 0; (head -c 1 /disk > /dev/null) 2>&1; \
         head -c 3 /dev/zero | od -An -tx1; echo x > /dev/null && echo fine",
    )
    .run();
    assert!(
        out.text.contains("/mem: Operation not permitted"),
        "{}",
        out.text
    );
    assert!(
        out.text.contains("/disk: Operation not permitted"),
        "{}",
        out.text
    );
    assert!(out.text.contains("00 00 00"), "{}", out.text);
    assert!(out.text.ends_with("fine\n"), "{}", out.text);
}
