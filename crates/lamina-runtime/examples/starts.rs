//! Creates, runs and removes containers of one program, and says how long one takes.
//!
//! usage: `starts N LOWER`: LOWER is a tree with a static busybox at bin/busybox and bin/true, and
//! empty proc, dev and sys folders, as for the floor program that this is compared with.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "a measuring tool"
)]

use std::fs::{File, create_dir_all, remove_dir, remove_file};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Instant;

use lamina_runtime::{CreateRequest, Start, Stdio, create, spec_default, start, start_outcome};
use lamina_types::explain::Explainer;
use lamina_types::{ContainerId, Rootfs, Source};
use oci_spec::runtime::{LinuxNamespaceType as Kind, Spec};
use rustix::process::{WaitId, WaitIdOptions, waitid};

fn spec() -> Spec {
    let caps = spec_default::CAPABILITIES.into_iter().collect();
    let mut spec = Spec::default();
    let process = spec.process_mut().as_mut().unwrap();
    process.set_args(Some(vec!["true".to_owned()]));
    process.set_rlimits(None);
    process.set_no_new_privileges(Some(false));
    process.set_capabilities(Some(spec_default::process_capabilities(&caps)));
    spec.root_mut().as_mut().unwrap().set_readonly(Some(false));
    spec.set_hostname(Some("x".to_owned()));
    spec.set_mounts(Some(spec_default::mounts(spec_default::SHM_SIZE)));
    let linux = spec.linux_mut().as_mut().unwrap();
    linux.set_namespaces(Some(spec_default::namespaces(&[
        Kind::Mount,
        Kind::Pid,
        Kind::Uts,
        Kind::Ipc,
        Kind::Network,
        Kind::Cgroup,
    ])));
    linux.set_masked_paths(Some(spec_default::masked_paths(2)));
    linux.set_readonly_paths(Some(spec_default::readonly_paths()));
    linux.set_seccomp(Some(spec_default::seccomp(&caps)));
    let mut resources = oci_spec::runtime::LinuxResources::default();
    resources.set_devices(Some(spec_default::device_rules()));
    linux.set_resources(Some(resources));
    spec
}

fn main() {
    let mut args = std::env::args().skip(1);
    let n: u32 = args.next().map_or(1, |n| n.parse().unwrap());
    let lower = args.next().unwrap_or_else(|| "bb".to_owned());
    let explain = args.next().is_some();
    let lower = Path::new(&lower).canonicalize().unwrap();
    let spec = spec();
    let begin = Instant::now();
    let mut parts = [0_f64; 3];
    for i in 0..n {
        let mut id = [0_u8; 32];
        id[..4].copy_from_slice(&std::process::id().to_ne_bytes());
        id[4..8].copy_from_slice(&i.to_ne_bytes());
        let base = std::env::temp_dir().join(format!("starts-{}-{i}", std::process::id()));
        let (upper, work) = (base.join("upper"), base.join("work"));
        create_dir_all(&upper).unwrap();
        create_dir_all(&work).unwrap();
        let rootfs = Rootfs::Overlay {
            lowers: vec![Source::Dir(lower.clone())],
            data: None,
            upper: Some(upper.clone()),
            work: Some(work.clone()),
            options: vec![],
        };
        let at = Instant::now();
        let fd = |write: bool| {
            File::options()
                .read(!write)
                .write(write)
                .open("/dev/null")
                .unwrap()
                .into()
        };
        let mut explainer = match explain {
            true => Explainer::to("monitor", |s| {
                println!("{:>8} µs {}  # {}", s.took_ns / 1000, s.what, s.command);
            }),
            false => Explainer::off(),
        };
        let stderr = std::io::stderr();
        let created = create(CreateRequest {
            id: &ContainerId::from_random(id),
            spec: &spec,
            rootfs: &rootfs,
            bundle: &base,
            stdio: Stdio::Fds {
                stdin: fd(false),
                stdout: fd(true),
                stderr: fd(true),
            },
            start: Start::Fifo,
            explain: &mut explainer,
            explain_pipe: explain.then(|| stderr.as_fd()),
            init_reaper: false,
        });
        let created = created.unwrap_or_else(|error| panic!("{error}"));
        parts[0] += at.elapsed().as_secs_f64();
        start(&base).unwrap();
        start_outcome(&created.errors).unwrap();
        let status = waitid(WaitId::Pid(created.pid), WaitIdOptions::EXITED)
            .unwrap()
            .unwrap();
        assert_eq!(status.exit_status(), Some(0));
        parts[1] += at.elapsed().as_secs_f64();
        created.cgroup.unwrap().remove().unwrap();
        remove_file(base.join("start.fifo")).unwrap();
        for dir in [work.join("work"), work, upper, base] {
            let _ = remove_dir(dir.join("proc"));
            remove_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        }
        parts[2] += at.elapsed().as_secs_f64();
    }
    let each = |seconds: f64| seconds * 1000.0 / f64::from(n);
    println!(
        "{:.3} ms each over {n} (create {:.3}, to exit {:.3}, to removed {:.3})",
        each(begin.elapsed().as_secs_f64()),
        each(parts[0]),
        each(parts[1]),
        each(parts[2])
    );
}
