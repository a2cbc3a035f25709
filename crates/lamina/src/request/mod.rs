//! What is meant: the arguments of `run` and `create` as a [`CreateRequest`], checked once.

mod environment;
mod health;
mod limits;
mod security;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use lamina_engine::{Connected, LogRequest, PullPolicy, SeccompMode, VolumesFrom};
use lamina_engine::{CreateRequest, IsolationRequest, NamespaceMode, NetworkMode, ProcessRequest};
use lamina_types::mount::MountSpec;
use lamina_types::{ErrorKind, RestartPolicy, UserSpec};

use crate::args::{ContainerArgs, Stream};
use crate::environment::Environment;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
pub(crate) use limits::resources;

pub(crate) use environment::variables;

/// Capabilities of Docker's default set that `--hardened` leaves out, as Podman does.
const HARDENED_DROPS: [&str; 3] = ["MKNOD", "NET_RAW", "AUDIT_WRITE"];

/// An argument that cannot be meant.
#[derive(Debug, thiserror::Error)]
#[error("invalid argument {value:?} for {flag}")]
struct BadArgument {
    flag: &'static str,
    value: String,
    #[source]
    source: Box<dyn Error>,
}

/// What decides the meaning of arguments besides themselves.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// The environment, for `-e NAME`.
    pub(crate) environment: &'a Environment,
    /// The working directory, for `-v ./x:/y`.
    pub(crate) cwd: &'a Path,
    /// Whether the configuration asks for hardened containers.
    pub(crate) hardened: bool,
}

/// Translates arguments.
pub(crate) fn create_request(
    args: &ContainerArgs,
    context: &Context<'_>,
) -> Outcome<CreateRequest> {
    refuse_ports(&args.isolation.publish)?;
    let (image, words) = match args.words.split_first() {
        Some((image, words)) => (image, words),
        None => return Err(Failure::usage("an image is required")),
    };
    let image = image
        .parse()
        .map_err(|error| bad("the image", image, error))?;
    Ok(CreateRequest {
        image,
        platform: parsed("--platform", args.image.platform.as_deref())?,
        pull: pull_policy(&args.image.pull)?,
        name: parsed("--name", args.name.as_deref())?,
        labels: environment::labels(&args.label, &args.label_file)?,
        annotations: annotations(&args.annotation)?,
        process: process(args, words, context)?,
        isolation: isolation(args, context)?,
        resources: resources(&args.limits.limits)?,
        cgroup_parent: limits::cgroup_parent(args.limits.cgroup_parent.as_deref())?,
        mounts: mounts(args, context.cwd)?,
        volumes_from: volumes_from(&args.files.volumes_from)?,
        read_only: args.files.read_only,
        shm_size: limits::shm_size(args.files.shm_size.as_deref())?,
        devices: all_parsed("--device", &args.files.device)?,
        sysctls: sysctls(&args.isolation.sysctl)?,
        remove: args.rm,
        restart: restart(args)?,
        cidfile: args.cidfile.as_ref().map(|path| context.cwd.join(path)),
        log: log(args),
        health: health::request(&args.health, args.rm)?,
    })
}

/// Reads `--annotation`; one without a value is empty.
fn annotations(given: &[String]) -> Outcome<BTreeMap<String, String>> {
    let one = |text: &String| match text.split_once('=').unwrap_or((text, "")) {
        ("", _) => Err(Failure::usage(format!("invalid annotation: {text:?}"))),
        (key, value) => Ok((key.to_owned(), value.to_owned())),
    };
    given.iter().map(one).collect()
}

/// Reads a restart policy.
pub(crate) fn restart_policy(text: &str) -> Outcome<RestartPolicy> {
    text.parse()
        .map_err(|error| Failure::new(error, ErrorKind::InvalidArgument).exits(exit_codes::ENGINE))
}

fn restart(args: &ContainerArgs) -> Outcome<RestartPolicy> {
    let policy = restart_policy(&args.restart)?;
    if args.rm && policy != RestartPolicy::No {
        return Err(Failure::usage(
            "conflicting options: cannot specify both --restart and --rm",
        ));
    }
    Ok(policy)
}

fn log(args: &ContainerArgs) -> LogRequest {
    let option = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    LogRequest {
        driver: args.log_driver.clone(),
        options: args.log_opt.iter().map(option).collect(),
    }
}

fn process(
    args: &ContainerArgs,
    words: &[String],
    context: &Context<'_>,
) -> Outcome<ProcessRequest> {
    let process = &args.process;
    if let Some(dir) = process.workdir.as_deref().filter(|dir| !dir.is_absolute()) {
        return Err(Failure::usage(format!(
            "the working directory {:?} is invalid, it needs to be an absolute path",
            dir.display()
        )));
    }
    if let Some(bad) = process
        .oom_score_adj
        .filter(|n| !(-1000..=1000).contains(n))
    {
        return Err(Failure::usage(format!(
            "invalid argument {bad} for --oom-score-adj: expected -1000 to 1000"
        )));
    }
    Ok(ProcessRequest {
        entrypoint: process.entrypoint.as_deref().map(entrypoint),
        args: words.to_vec(),
        env: environment::variables(&process.env, &process.env_file, context.environment)?,
        workdir: process.workdir.clone(),
        user: user(process.user.as_deref())?,
        group_add: process.group_add.clone(),
        tty: args.tty,
        stdin: args.interactive,
        attached: attached(args),
        init: process.init,
        stop_signal: parsed("--stop-signal", process.stop_signal.as_deref())?,
        stop_timeout: process.stop_timeout,
        ulimits: all_parsed("--ulimit", &process.ulimit)?,
        oom_score_adj: process.oom_score_adj,
    })
}

/// Returns what is connected: what was named, and the input that is kept open.
fn attached(args: &ContainerArgs) -> Connected {
    let is_named = |stream| args.attach.contains(&stream);
    let unnamed = args.attach.is_empty();
    Connected {
        stdin: args.interactive || is_named(Stream::Stdin),
        stdout: unnamed || is_named(Stream::Stdout),
        stderr: unnamed || is_named(Stream::Stderr),
    }
}

/// Reads `--user`; an empty one is none.
pub(crate) fn user(text: Option<&str>) -> Outcome<Option<UserSpec>> {
    parsed("--user", text.filter(|user| !user.is_empty()))
}

/// A JSON list is an entrypoint in exec form; anything else is one program; nothing clears it.
fn entrypoint(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    serde_json::from_str(text).unwrap_or_else(|_| vec![text.to_owned()])
}

fn isolation(args: &ContainerArgs, context: &Context<'_>) -> Outcome<IsolationRequest> {
    let typed = &args.isolation;
    let namespace = |flag, text: &Option<String>| namespace(flag, text.as_deref());
    let mut request = IsolationRequest {
        hostname: hostname(args.hostname.as_deref())?,
        network: network(typed.network.as_deref())?,
        pid: namespace("--pid", &typed.pid)?,
        ipc: namespace("--ipc", &typed.ipc)?,
        uts: namespace("--uts", &typed.uts)?,
        cgroup: namespace("--cgroupns", &typed.cgroupns)?,
        privileged: typed.privileged,
        cap_add: security::capabilities("--cap-add", &typed.cap_add)?,
        cap_drop: security::capabilities("--cap-drop", &typed.cap_drop)?,
        seccomp: SeccompMode::Default,
        no_new_privileges: false,
        label: Vec::new(),
        systempaths_unconfined: false,
    };
    if request.uts == NamespaceMode::Host && request.hostname.is_some() {
        return Err(Failure::usage(
            "conflicting options: hostname and the UTS mode",
        ));
    }
    if typed.hardened.unwrap_or(context.hardened) && !typed.privileged {
        let kept = |cap: &&str| !request.cap_add.iter().any(|added| added == cap);
        let drops = HARDENED_DROPS.iter().filter(|cap| kept(cap));
        let drops: Vec<String> = drops.map(|cap| (*cap).to_owned()).collect();
        request.cap_drop.extend(drops);
        request.no_new_privileges = true;
    }
    for option in &typed.security_opt {
        security::option(option, &mut request, context.cwd)?;
    }
    Ok(request)
}

fn namespace(flag: &'static str, text: Option<&str>) -> Outcome<NamespaceMode> {
    match text {
        None | Some("" | "private") => Ok(NamespaceMode::Private),
        Some("host") => Ok(NamespaceMode::Host),
        Some(other) => Err(Failure::usage(format!(
            "invalid argument {other:?} for {flag}: expected private or host"
        ))),
    }
}

fn network(text: Option<&str>) -> Outcome<NetworkMode> {
    match text {
        None | Some("" | "none") => Ok(NetworkMode::None),
        Some("host") => Ok(NetworkMode::Host),
        Some(other) => Err(Failure::usage(format!(
            "network {other:?} is not available: containers have no network (none) or the host's (host) in this version"
        ))
        .hint("lamina run --network none … or lamina run --network host …")),
    }
}

fn refuse_ports(ports: &[String]) -> Outcome {
    match ports.first() {
        None => Ok(()),
        Some(port) => Err(Failure::usage(format!(
            "cannot publish {port:?}: publishing ports needs a bridge network, which this version does not have"
        ))
        .hint("lamina run --network host … makes the program's ports the host's own")),
    }
}

/// Linux allows 64 bytes; the characters are RFC 1123's.
fn hostname(text: Option<&str>) -> Outcome<Option<String>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        ends(bytes.first())
            && ends(bytes.last())
            && bytes
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b))
    };
    if text.len() <= 64 && text.split('.').all(label) {
        return Ok(Some(text.to_owned()));
    }
    Err(Failure::usage(format!(
        "invalid hostname {:?}: expected at most 64 letters, digits, - and .",
        text.chars().take(80).collect::<String>()
    )))
}

fn pull_policy(text: &str) -> Outcome<PullPolicy> {
    match text {
        "always" => Ok(PullPolicy::Always),
        "missing" => Ok(PullPolicy::Missing),
        "never" => Ok(PullPolicy::Never),
        other => Err(Failure::usage(format!(
            "invalid argument {other:?} for --pull: expected always, missing or never"
        ))),
    }
}

fn mounts(args: &ContainerArgs, cwd: &Path) -> Outcome<Vec<MountSpec>> {
    let files = &args.files;
    let mut mounts = Vec::new();
    for text in &files.volume {
        mounts.push(MountSpec::parse_volume(text, cwd).map_err(|e| bad("--volume", text, e))?);
    }
    for text in &files.mount {
        mounts.push(MountSpec::parse_mount(text, cwd).map_err(|e| bad("--mount", text, e))?);
    }
    for text in &files.tmpfs {
        mounts.push(MountSpec::parse_tmpfs(text).map_err(|e| bad("--tmpfs", text, e))?);
    }
    for (at, mount) in mounts.iter().enumerate() {
        if mounts[..at]
            .iter()
            .any(|other| other.target == mount.target)
        {
            return Err(Failure::usage(format!(
                "duplicate mount point: {}",
                mount.target.display()
            )));
        }
    }
    Ok(mounts)
}

/// Reads `--volumes-from`; the letters of SELinux are the volumes' own.
fn volumes_from(given: &[String]) -> Outcome<Vec<VolumesFrom>> {
    let one = |text: &String| {
        let (container, mode) = text.split_once(':').unwrap_or((text, ""));
        let mut read_only = None;
        for word in mode.split(',').filter(|word| !word.is_empty()) {
            match word {
                "ro" => read_only = Some(true),
                "rw" => read_only = Some(false),
                "z" | "Z" => {}
                other => {
                    return Err(Failure::usage(format!(
                        "invalid argument {text:?} for --volumes-from: invalid mode: {other}"
                    )));
                }
            }
        }
        if container.is_empty() {
            return Err(Failure::usage(
                "invalid argument for --volumes-from: malformed volumesFrom specification",
            ));
        }
        Ok(VolumesFrom {
            container: container.to_owned(),
            read_only,
        })
    };
    given.iter().map(one).collect()
}

fn sysctls(given: &[String]) -> Outcome<BTreeMap<String, String>> {
    let mut sysctls = BTreeMap::new();
    for text in given {
        let pair = text.split_once('=').filter(|(name, _)| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/".contains(&b);
            !name.is_empty() && name.bytes().all(plain)
        });
        let Some((name, value)) = pair else {
            return Err(Failure::usage(format!(
                "invalid argument {text:?} for --sysctl: expected name=value"
            )));
        };
        sysctls.insert(name.replace('/', "."), value.to_owned());
    }
    Ok(sysctls)
}

/// Parses an optional argument.
fn parsed<T>(flag: &'static str, text: Option<&str>) -> Outcome<Option<T>>
where
    T: std::str::FromStr<Err: Error + 'static>,
{
    text.map(|text| text.parse().map_err(|error| bad(flag, text, error)))
        .transpose()
}

/// Parses a repeated argument.
fn all_parsed<T>(flag: &'static str, texts: &[String]) -> Outcome<Vec<T>>
where
    T: std::str::FromStr<Err: Error + 'static>,
{
    let parse = |text: &String| text.parse().map_err(|error| bad(flag, text, error));
    texts.iter().map(parse).collect()
}

/// Returns the failure of an argument.
fn bad(flag: &'static str, value: &str, source: impl Error + 'static) -> Failure {
    let error = BadArgument {
        flag,
        value: value.chars().take(160).collect(),
        source: Box::new(source),
    };
    Failure::new(error, lamina_types::ErrorKind::InvalidArgument).exits(crate::exit_codes::ENGINE)
}
