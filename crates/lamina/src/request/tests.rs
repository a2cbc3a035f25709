//! From what is typed to what is meant.

use std::path::PathBuf;

use clap::Parser;
use lamina_types::mount::MountKind;
use lamina_types::{NameOrId, Signal};

use super::*;
use crate::args::RunArgs;

#[derive(Debug, Parser)]
#[command(disable_help_flag = true)]
struct Line {
    #[command(flatten)]
    run: RunArgs,
}

fn typed(line: &str) -> Result<RunArgs, clap::Error> {
    let words = std::iter::once("run").chain(line.split_whitespace());
    Line::try_parse_from(words).map(|line| line.run)
}

fn meant(line: &str) -> Outcome<CreateRequest> {
    let args = typed(line).map_err(|error| Failure::usage(error.to_string()))?;
    let environment = Environment::of(&[("TERM", "xterm")]);
    let context = Context {
        environment: &environment,
        cwd: Path::new("/work dir"),
        hardened: false,
    };
    create_request(&args.container, &context)
}

fn ok(line: &str) -> CreateRequest {
    meant(line).unwrap_or_else(|failure| panic!("{line}: {}", failure.render()))
}

#[test]
fn flags_end_at_the_image() {
    let request = ok("--rm debian --rm -it --name x -- sh -c x");
    assert_eq!(
        request.process.args,
        ["--rm", "-it", "--name", "x", "--", "sh", "-c", "x"]
    );
    assert!(request.remove && request.name.is_none() && !request.process.tty);
    assert_eq!(request.image.familiar(), "debian:latest");
}

#[test]
fn short_flags_cluster_and_booleans_take_values() {
    let args = typed("-itd -p80:80 --rm=true --init=false --sig-proxy=false debian").unwrap();
    assert!(args.detach && args.container.interactive && args.container.tty);
    assert!(args.container.rm && !args.container.process.init && !args.sig_proxy);
    let args = typed("-tieA=1 debian").unwrap();
    assert_eq!(args.container.process.env, ["A=1"]);
    let args = typed("-it=false -m64m -u0 debian").unwrap();
    assert!(args.container.interactive && !args.container.tty);
    assert!(typed("debian").unwrap().sig_proxy);
}

#[test]
fn everything_reaches_its_place() {
    let request = ok(
        "--name web -h box -e A=1 -e TERM -e NOPE -w /src -u 1000:adm --group-add video \
         --entrypoint /bin/sh -v .:/src:ro -v data:/data --mount type=tmpfs,dst=/t --tmpfs /run \
         --read-only --cap-add sys_ptrace --cap-drop CAP_ALL --security-opt seccomp=unconfined \
         --security-opt no-new-privileges --security-opt label=disable \
         --security-opt systempaths=unconfined --device /dev/fuse --sysctl net.ipv4.ip_forward=1 \
         --ulimit nofile=10:20 --shm-size 1m --init --pid host --ipc host --cgroupns host \
         --network host -m 256m --memory-swap -1 --cpus 1.5 --cpuset-cpus 0-1 --cpu-shares 512 \
         --pids-limit 64 --cgroup-parent batch/x --oom-score-adj -500 --stop-signal INT \
         --platform linux/arm64 --pull never -l a=b --cidfile id debian echo hi",
    );
    assert_eq!(request.name.unwrap().as_str(), "web");
    assert_eq!(request.process.env, ["A=1", "TERM=xterm", "NOPE"]);
    let user = request.process.user.unwrap();
    assert_eq!(user.user, NameOrId::Id(1000));
    assert_eq!(request.process.entrypoint.unwrap(), ["/bin/sh"]);
    assert_eq!(request.process.stop_signal, Some(Signal(2)));
    assert_eq!(request.process.oom_score_adj, Some(-500));
    assert_eq!(request.mounts.len(), 4);
    assert!(
        matches!(&request.mounts[0].kind, MountKind::Bind { source, .. }
        if source == Path::new("/work dir"))
    );
    let isolation = request.isolation;
    assert_eq!(isolation.cap_add, ["SYS_PTRACE"]);
    assert_eq!(isolation.cap_drop, ["ALL"]);
    assert_eq!(isolation.seccomp, SeccompMode::Unconfined);
    assert!(isolation.no_new_privileges && isolation.systempaths_unconfined);
    assert_eq!(isolation.label, ["disable"]);
    assert_eq!(isolation.network, NetworkMode::Host);
    assert_eq!(isolation.pid, NamespaceMode::Host);
    let limits = request.resources;
    assert_eq!(
        (limits.memory, limits.memory_swap),
        (Some(256 << 20), Some(-1))
    );
    assert_eq!(limits.nano_cpus, Some(1_500_000_000));
    assert_eq!(limits.pids_limit, Some(64));
    assert_eq!(request.cgroup_parent.as_deref(), Some("/batch/x"));
    assert_eq!(request.shm_size, Some(1 << 20));
    assert_eq!(request.sysctls["net.ipv4.ip_forward"], "1");
    assert_eq!(request.cidfile, Some(PathBuf::from("/work dir/id")));
    assert_eq!(request.platform.unwrap().to_string(), "linux/arm64");
}

#[test]
fn entrypoints() {
    assert_eq!(entrypoint(""), Vec::<String>::new());
    assert_eq!(entrypoint("sh"), ["sh"]);
    assert_eq!(entrypoint(r#"["sh", "-c"]"#), ["sh", "-c"]);
    assert_eq!(entrypoint("[x"), ["[x"]);
}

#[test]
fn hardened_drops_what_was_not_added() {
    let request = ok("--hardened --cap-add NET_RAW debian");
    assert_eq!(request.isolation.cap_drop, ["MKNOD", "AUDIT_WRITE"]);
    assert!(request.isolation.no_new_privileges);
    assert!(ok("debian").isolation.cap_drop.is_empty());
}

#[test]
fn refuses_what_cannot_be_meant() {
    for line in [
        "",
        "--bogus debian",
        "UPPER",
        "-p 80:80 debian",
        "--network web debian",
        "--network bridge debian",
        "--pid container:x debian",
        "-u +0 debian",
        "-u 4294967295 debian",
        "-m lots debian",
        "-m 99999999999p debian",
        "--memory-swap 1g debian",
        "-m 1g --memory-swap 1m debian",
        "--cpus 0.001 debian",
        "--cpus x debian",
        "--cpuset-cpus 0-9999999999 debian",
        "--cpu-shares 1 debian",
        "--pids-limit -2 debian",
        "--shm-size 0 debian",
        "--oom-score-adj 1001 debian",
        "--ulimit nofile debian",
        "-v a:b:c:d debian",
        "-v /a:/ debian",
        "-v /a:/b -v /c:/b debian",
        "--mount x debian",
        "-w rel debian",
        "--name a/b debian",
        "--cap-add N*T debian",
        "--security-opt bogus debian",
        "--stop-signal SIGNOPE debian",
        "--sysctl x debian",
        "--cgroup-parent ../x debian",
        "-h a/b debian",
        "-e =x debian",
        "--pull sometimes debian",
        "--platform a/b/c/d debian",
        "--device fuse debian",
        "--uts host -h x debian",
        "--security-opt seccomp=/nonexistent debian",
        "--env-file /nonexistent debian",
        "--security-opt apparmor=x debian",
    ] {
        let failure = meant(line)
            .err()
            .unwrap_or_else(|| panic!("{line:?} must be refused"));
        assert_eq!(failure.code(), 125, "{line}");
        assert!(failure.render().starts_with("error: "), "{line}");
    }
}
