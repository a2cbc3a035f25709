//! The specification of a container, as tables and snapshots.

use std::path::Path;

use lamina_types::mount::{MountKind, MountSpec, Propagation, Relabel};
use lamina_types::oci::Config;
use lamina_types::{ContainerId, Digest, ImageId};
use serde_json::{Value, json};

use super::*;
use crate::process::{self, tests::request};
use crate::request::{CreateRequest, NetworkMode};
use crate::users::{self, Accounts};

/// Builds the specification of a request on an image with nothing but a command.
fn spec_of(change: impl FnOnce(&mut CreateRequest)) -> Result<Value, SpecError> {
    let mut request = request();
    change(&mut request);
    built(request, Config::default())
}

fn built(request: CreateRequest, mut image_config: Config) -> Result<Value, SpecError> {
    image_config.cmd = vec!["sh".to_owned()];
    let id = ContainerId::from_random([0xab; 32]);
    let record = Record {
        version: Record::current_version(),
        id: id.clone(),
        name: "test".parse().unwrap_or_else(|_| unreachable!()),
        created: String::new(),
        image: ImageId(Digest::from_sha256([1; 32])),
        layers: Vec::new(),
        image_config,
        request,
        volumes: Vec::new(),
        images: Vec::new(),
    };
    let process = process::plan(&record.request, &record.image_config, &id).unwrap();
    let accounts = Accounts {
        passwd: b"root:x:0:0::/root:\napp:x:1000:1000::/home/app:\n".to_vec(),
        group: b"video:x:44:app\n".to_vec(),
    };
    let user = users::resolve(process.user.as_ref(), &process.group_add, &accounts).unwrap();
    let all = [Capability::SysAdmin, Capability::Chown].into();
    let volume = VolumeMount {
        kind: "bind".to_owned(),
        source: "/volumes/v/_data".into(),
        options: Vec::new(),
        subpath: None,
        target: "/data".into(),
        read_only: false,
    };
    let spec = build(&Input {
        record: &record,
        process: &process,
        user: &user,
        volumes: &[volume],
        etc: &EtcFiles::in_dir(Path::new("/c")),
        devices: &[],
        capabilities: &all,
        cgroup_parent: "/lamina",
        cpus: 1,
        labels: None,
    })?;
    let mut value = serde_json::to_value(&spec).unwrap();
    sort_sets(&mut value["process"]["capabilities"]);
    Ok(value)
}

/// The sets of capabilities have no order of their own.
fn sort_sets(sets: &mut Value) {
    for set in sets.as_object_mut().unwrap().values_mut() {
        let names = set.as_array_mut().unwrap();
        names.sort_by_key(|name| name.as_str().unwrap().to_owned());
    }
}

/// One line for each mount: target, type, source, options.
fn mount_lines(spec: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let line = |mount: &Value| {
        let options: Vec<String> = mount["options"]
            .as_array()
            .unwrap()
            .iter()
            .map(text)
            .collect();
        let [target, kind, source] = ["destination", "type", "source"].map(|key| text(&mount[key]));
        format!("{target} {kind} {source} {}", options.join(","))
    };
    let mounts = spec["mounts"].as_array().unwrap();
    mounts.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// One line for each field, two levels deep for the large ones.
fn lines_of(spec: &Value) -> String {
    let mut lines = Vec::new();
    for (name, value) in spec.as_object().unwrap() {
        match value
            .as_object()
            .filter(|_| ["linux", "process"].contains(&name.as_str()))
        {
            Some(fields) => {
                lines.extend(
                    fields
                        .iter()
                        .map(|(field, value)| format!("{name}.{field} {value}")),
                );
            }
            None => lines.push(format!("{name} {value}")),
        }
    }
    lines.join("\n")
}

fn bind(source: &str, target: &str) -> MountSpec {
    MountSpec {
        kind: MountKind::Bind {
            source: source.into(),
            propagation: Propagation::default(),
            non_recursive: false,
            relabel: Relabel::None,
        },
        target: target.into(),
        read_only: false,
        recursive_read_only: false,
    }
}

fn tmpfs(target: &str, options: &[&str]) -> MountSpec {
    MountSpec {
        kind: MountKind::Tmpfs {
            size: Some(1024),
            mode: None,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
        },
        ..bind("/", target)
    }
}

#[test]
fn the_default_is_dockers() {
    let mut spec = spec_of(|_| ()).unwrap();
    assert!(spec["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO");
    spec["linux"]["seccomp"].take();
    insta::assert_snapshot!(mount_lines(&spec), @r"
    /proc proc proc nosuid,noexec,nodev
    /dev tmpfs tmpfs nosuid,strictatime,mode=755,size=65536k
    /dev/pts devpts devpts nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5
    /dev/shm tmpfs shm nosuid,noexec,nodev,mode=1777,size=67108864
    /dev/mqueue mqueue mqueue nosuid,noexec,nodev
    /sys sysfs sysfs nosuid,noexec,nodev,ro
    /sys/fs/cgroup cgroup cgroup nosuid,noexec,nodev,ro
    /etc/resolv.conf bind /c/resolv.conf bind,rprivate,nosuid,nodev
    /etc/hostname bind /c/hostname bind,rprivate,nosuid,nodev
    /etc/hosts bind /c/hosts bind,rprivate,nosuid,nodev
    /data bind /volumes/v/_data rbind,rprivate,rw
    ");
    spec["mounts"].take();
    spec["linux"]["resources"]["devices"].take();
    // The masks and sets are the runtime's own lists; here only which list is given counts.
    assert_eq!(
        spec["linux"]["maskedPaths"].take(),
        json!(spec_default::masked_paths(1))
    );
    assert_eq!(
        spec["linux"]["readonlyPaths"].take(),
        json!(spec_default::readonly_paths())
    );
    let sets = spec["process"]["capabilities"].take();
    for set in ["bounding", "effective", "permitted"] {
        assert_eq!(sets[set].as_array().unwrap().len(), 14, "{set}");
    }
    assert_eq!(
        (&sets["inheritable"], &sets["ambient"]),
        (&json!([]), &json!([]))
    );
    insta::assert_snapshot!(lines_of(&spec), @r#"
    hostname "abababababab"
    linux.cgroupsPath "/lamina/lamina-abababababababababababababababababababababababababababababababab"
    linux.devices []
    linux.maskedPaths null
    linux.namespaces [{"type":"mount"},{"type":"pid"},{"type":"uts"},{"type":"ipc"},{"type":"cgroup"},{"type":"network"}]
    linux.readonlyPaths null
    linux.resources {"devices":null}
    linux.rootfsPropagation "rprivate"
    linux.seccomp null
    linux.sysctl {"net.ipv4.ip_unprivileged_port_start":"0","net.ipv4.ping_group_range":"0 2147483647"}
    mounts null
    ociVersion "1.2.0"
    process.args ["sh"]
    process.capabilities null
    process.cwd "/"
    process.env ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","HOSTNAME=abababababab","HOME=/root"]
    process.noNewPrivileges false
    process.rlimits []
    process.terminal false
    process.user {"additionalGids":[0],"gid":0,"uid":0,"umask":18}
    root {"path":"rootfs","readonly":false}
    "#);
}

#[test]
fn privileged_lifts_every_protection_and_nothing_else_does() {
    let open = spec_of(|r| r.isolation.privileged = true).unwrap();
    assert_eq!(open["linux"]["maskedPaths"], json!([]));
    assert_eq!(open["linux"]["readonlyPaths"], json!([]));
    assert_eq!(open["linux"]["seccomp"], Value::Null);
    assert_eq!(
        open["process"]["capabilities"]["bounding"],
        json!(["CAP_CHOWN", "CAP_SYS_ADMIN"])
    );
    let rules = &open["linux"]["resources"]["devices"];
    assert_eq!(
        rules,
        &json!([{"allow": true, "type": null, "access": "rwm"}]).strip_nulls()
    );
    assert!(mount_lines(&open).contains("/sys sysfs sysfs nosuid,noexec,nodev,rw"));

    let paths = spec_of(|r| r.isolation.systempaths_unconfined = true).unwrap();
    assert_eq!(paths["linux"]["maskedPaths"], json!([]));
    assert_ne!(paths["linux"]["seccomp"], Value::Null);
}

trait StripNulls {
    fn strip_nulls(self) -> Self;
}

impl StripNulls for Value {
    fn strip_nulls(mut self) -> Self {
        for rule in self.as_array_mut().unwrap() {
            rule.as_object_mut()
                .unwrap()
                .retain(|_, value| !value.is_null());
        }
        self
    }
}

#[test]
fn a_user_other_than_root_has_no_effective_capability() {
    let spec = spec_of(|r| r.process.user = Some("app".parse().unwrap())).unwrap();
    let process = &spec["process"];
    assert_eq!(process["user"]["uid"], 1000);
    assert_eq!(process["user"]["additionalGids"], json!([44, 1000]));
    assert_eq!(process["capabilities"]["effective"], json!([]));
    assert_eq!(process["capabilities"]["permitted"], json!([]));
    assert_eq!(process["capabilities"]["inheritable"], json!([]));
    assert_eq!(
        process["capabilities"]["bounding"]
            .as_array()
            .unwrap()
            .len(),
        14
    );
    let env = process["env"].as_array().unwrap();
    assert!(env.contains(&json!("HOME=/home/app")));
}

#[test]
fn host_namespaces_are_left_out() {
    let kinds = |spec: &Value| {
        let namespaces = spec["linux"]["namespaces"].as_array().unwrap().iter();
        let kinds: Vec<_> = namespaces
            .map(|n| n["type"].as_str().unwrap().to_owned())
            .collect();
        kinds.join(" ")
    };
    let own = spec_of(|_| ()).unwrap();
    assert_eq!(kinds(&own), "mount pid uts ipc cgroup network");
    let shared = spec_of(|r| {
        r.isolation.pid = NamespaceMode::Host;
        r.isolation.uts = NamespaceMode::Host;
        r.isolation.ipc = NamespaceMode::Host;
        r.isolation.cgroup = NamespaceMode::Host;
        r.isolation.network = NetworkMode::Host;
    })
    .unwrap();
    assert_eq!(kinds(&shared), "mount");
    assert_eq!(shared["hostname"], Value::Null);
    assert_eq!(shared["linux"]["sysctl"], json!({}));
    assert!(mount_lines(&shared).contains("/dev/shm bind /dev/shm rbind,"));
}

#[test]
fn asked_mounts_come_last_shallow_first_and_replace_defaults() {
    let spec = spec_of(|r| {
        r.mounts = vec![
            MountSpec {
                read_only: true,
                ..bind("/b", "/a/b")
            },
            MountSpec {
                recursive_read_only: true,
                ..bind("/a", "/a")
            },
            tmpfs("/dev/shm", &["exec"]),
            bind("/my/hosts", "/etc/hosts"),
        ];
    })
    .unwrap();
    let lines = mount_lines(&spec);
    let asked = &lines[lines.find("/data").unwrap()..];
    insta::assert_snapshot!(asked, @r"
    /data bind /volumes/v/_data rbind,rprivate,rw
    /a bind /a rbind,rprivate,ro,rro
    /a/b bind /b rbind,rprivate,ro
    /dev/shm tmpfs tmpfs nosuid,nodev,exec,size=1024,mode=1777
    /etc/hosts bind /my/hosts rbind,rprivate,rw
    ");
    assert_eq!(lines.matches("/dev/shm ").count(), 1);
    assert_eq!(lines.matches("/etc/hosts ").count(), 1);
}

#[test]
fn targets_that_isolation_rests_on_are_refused() {
    for bad in [
        "/",
        "/proc",
        "/proc/",
        "/proc/self/attr",
        "/../proc",
        "/x/../sys",
        "/sys/fs/cgroup",
        "/data",
    ] {
        let verdict = spec_of(|r| r.mounts = vec![bind("/a", bad)]);
        assert!(matches!(verdict, Err(SpecError::Target { .. })), "{bad}");
    }
    for good in ["/process", "/system", "/proc/cpuinfo", "/mnt/proc"] {
        assert!(
            spec_of(|r| r.mounts = vec![bind("/a", good)]).is_ok(),
            "{good}"
        );
    }
    let own = |r: &mut CreateRequest| r.mounts = vec![bind("/sys/fs/cgroup", "/sys/fs/cgroup")];
    assert!(spec_of(own).is_ok());
}

#[test]
fn propagation_of_a_bind_needs_that_of_the_root() {
    let root = |propagation| {
        let mut mount = bind("/a", "/a");
        if let MountKind::Bind { propagation: p, .. } = &mut mount.kind {
            *p = propagation;
        }
        spec_of(|r| r.mounts = vec![mount]).unwrap()["linux"]["rootfsPropagation"].clone()
    };
    assert_eq!(root(Propagation::Rprivate), "rprivate");
    assert_eq!(root(Propagation::Rslave), "rslave");
    assert_eq!(root(Propagation::Shared), "rshared");
}

#[test]
fn limits_reach_the_cgroup() {
    let spec = spec_of(|r| {
        r.resources.memory = Some(256 << 20);
        r.resources.nano_cpus = Some(1_000_000_000);
        r.resources.pids_limit = Some(64);
        r.cgroup_parent = Some("/jobs".to_owned());
    })
    .unwrap();
    let resources = &spec["linux"]["resources"];
    assert_eq!(
        resources["memory"],
        json!({"limit": 268_435_456, "swap": 536_870_912})
    );
    assert_eq!(
        resources["cpu"],
        json!({"quota": 100_000, "period": 100_000})
    );
    assert_eq!(resources["pids"], json!({"limit": 64}));
    let path = spec["linux"]["cgroupsPath"].as_str().unwrap();
    assert!(path.starts_with("/jobs/lamina-abab"), "{path}");
}

#[test]
fn an_image_decides_nothing_but_its_process() {
    let benign = built(request(), Config::default()).unwrap();
    let hostile = Config {
        labels: [("privileged".to_owned(), "true".to_owned())].into(),
        other: json!({
            "Privileged": true, "HostConfig": {"Privileged": true}, "SecurityOpt": ["seccomp=unconfined"],
            "Annotations": {"org.systemd.property.x": "y"}, "Devices": ["/dev/sda"],
        })
        .as_object()
        .unwrap()
        .clone(),
        ..Config::default()
    };
    assert_eq!(built(request(), hostile).unwrap(), benign);
}
