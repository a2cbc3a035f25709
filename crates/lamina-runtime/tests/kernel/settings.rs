//! What a spec may ask for: users, binds, namespaces, parameters, limits.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use lamina_runtime::spec_default;
use oci_spec::runtime::{
    LinuxNamespaceType as Kind, PosixRlimitBuilder, PosixRlimitType, UserBuilder,
};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::containers::Container;

pub(crate) fn privileged_users_have_no_capabilities() {
    let mut container =
        Container::new("grep -E '^(Cap|Groups|Uid|Gid)' /proc/self/status; touch /etc/x; ls -ld .");
    let user = UserBuilder::default()
        .uid(1000_u32)
        .gid(1001_u32)
        .additional_gids(vec![7_u32, 8]);
    container.process().set_user(user.build().unwrap());
    let out = container.run();
    let text = out.text.replace('\t', " ");
    for line in [
        "Uid: 1000 1000 1000 1000",
        "Gid: 1001 1001 1001 1001",
        "Groups: 7 8 ",
        "CapInh: 0000000000000000",
        "CapPrm: 0000000000000000",
        "CapEff: 0000000000000000",
        "CapBnd: 00000000a80425fb",
        "CapAmb: 0000000000000000",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
    assert!(text.contains("touch: /etc/x: Permission denied"), "{text}");
}

pub(crate) fn privileged_no_new_privileges() {
    let mut container = Container::new("grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status");
    container.process().set_no_new_privileges(Some(true));
    let out = container.run();
    assert_eq!(out.text, "NoNewPrivs:\t1\nSeccomp:\t2\n");
}

pub(crate) fn privileged_binds_follow_their_options() {
    let source = tempfile::tempdir().unwrap();
    let below = source.path().join("below");
    fs::create_dir(&below).unwrap();
    rustix::mount::mount("tmpfs", &below, "tmpfs", MountFlags::empty(), None).unwrap();
    let script = "(echo x > /v/f) 2>/dev/null && echo top; (echo x > /v/below/f) 2>/dev/null && echo below; \
                  test -d /v/below && grep ' /v' /proc/self/mountinfo | cut -d' ' -f5,6 | cut -d, -f1";
    let run = |options: &[&str]| {
        let mut container = Container::new(script);
        container.mount("/v", "bind", source.path(), options);
        container.run().text
    };
    let found = [
        run(&["rbind"]),
        run(&["rbind", "ro"]),
        run(&["rbind", "ro", "rro"]),
        run(&["bind"]),
    ];
    rustix::mount::unmount(&below, UnmountFlags::DETACH).unwrap();
    assert_eq!(found[0], "top\nbelow\n/v rw\n/v/below rw\n");
    assert_eq!(found[1], "below\n/v ro\n/v/below rw\n");
    assert_eq!(found[2], "/v ro\n/v/below ro\n");
    assert_eq!(found[3], "top\nbelow\n/v rw\n");
}

pub(crate) fn privileged_read_only_root() {
    let mut container = Container::new(
        "(echo x > /etc/f) 2>/dev/null && echo root; pwd; (echo x > /dev/shm/f) && echo shm; (echo x > /run/f) && echo run",
    );
    container
        .spec
        .root_mut()
        .as_mut()
        .unwrap()
        .set_readonly(Some(true));
    container.process().set_cwd("/made/for/it".into());
    container.mount("/run", "tmpfs", Path::new("tmpfs"), &["mode=755"]);
    assert_eq!(container.run().text, "/made/for/it\nshm\nrun\n");
}

pub(crate) fn privileged_namespaces_are_shared_as_asked() {
    let names = ["pid", "ipc", "uts", "net", "cgroup", "mnt"];
    let script = "for n in pid ipc uts net cgroup mnt; do readlink /proc/self/ns/$n; done";
    let host: Vec<String> = names
        .iter()
        .map(|name| {
            fs::read_link(format!("/proc/self/ns/{name}"))
                .unwrap()
                .display()
                .to_string()
        })
        .collect();
    let mut shared = Container::new(script);
    shared.spec.set_hostname(None);
    shared
        .linux()
        .set_namespaces(Some(spec_default::namespaces(&[Kind::Mount])));
    let out = shared.run();
    let seen: Vec<&str> = out.text.lines().collect();
    assert_eq!(seen[..5], host[..5], "{}", out.text);
    assert_ne!(seen[5], host[5]);
    let own = Container::new(script).run();
    assert!(
        own.text.lines().zip(&host).all(|(own, host)| own != host),
        "{}",
        own.text
    );
    // By path: into the namespaces of another container.
    let first = Container::new("sleep 1000");
    let (created, _output) = first.create().unwrap();
    let mut second = Container::new(script);
    second.spec.set_hostname(None);
    let mut namespaces = spec_default::namespaces(&[Kind::Mount, Kind::Pid, Kind::Network]);
    for (namespace, name) in namespaces.iter_mut().skip(1).zip(["pid", "net"]) {
        namespace.set_path(Some(format!("/proc/{}/ns/{name}", created.pid).into()));
    }
    second.linux().set_namespaces(Some(namespaces));
    let out = second.run();
    let seen: Vec<&str> = out.text.lines().collect();
    for (at, name) in [(0, "pid"), (3, "net")] {
        let theirs = fs::read_link(format!("/proc/{}/ns/{name}", created.pid)).unwrap();
        assert_eq!(seen[at], theirs.to_str().unwrap());
    }
    let cgroup = created.cgroup.clone().unwrap();
    cgroup.kill_all().unwrap();
    crate::containers::code(&created);
    cgroup.remove().unwrap();
}

pub(crate) fn privileged_sysctls_and_limits() {
    let mut container = Container::new(
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ulimit -n; cat /proc/self/oom_score_adj",
    );
    let sysctl = HashMap::from([(
        "net.ipv4.ip_unprivileged_port_start".to_owned(),
        "0".to_owned(),
    )]);
    container.linux().set_sysctl(Some(sysctl));
    container.process().set_oom_score_adj(Some(500));
    let limit = PosixRlimitBuilder::default()
        .typ(PosixRlimitType::RlimitNofile)
        .soft(99_u64)
        .hard(100_u64);
    container
        .process()
        .set_rlimits(Some(vec![limit.build().unwrap()]));
    assert_eq!(container.run().text, "0\n99\n500\n");
    // The container's own procfs cannot be written: another instance is.
    let mut container = Container::new("cat /proc/sys/net/ipv4/ip_unprivileged_port_start");
    let name = "net.ipv4.ip_unprivileged_port_start".to_owned();
    let sysctl = HashMap::from([(name, "7".to_owned())]);
    container.linux().set_sysctl(Some(sysctl));
    let mounts = container.spec.mounts_mut().as_mut().unwrap();
    let proc = mounts
        .iter_mut()
        .find(|mount| mount.destination() == "/proc");
    let options = proc.unwrap().options_mut().get_or_insert_default();
    options.push("ro".to_owned());
    assert_eq!(container.run().text, "7\n");
    // Raising a hard limit needs a privilege; without it the error says which limit.
    let mut container = Container::new("true");
    let limit = PosixRlimitBuilder::default()
        .typ(PosixRlimitType::RlimitNofile)
        .soft(1_u64 << 40)
        .hard(1_u64 << 40);
    container
        .process()
        .set_rlimits(Some(vec![limit.build().unwrap()]));
    let error = container.create().map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("RLIMIT_NOFILE"), "{error}");
}
