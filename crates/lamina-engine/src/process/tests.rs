//! The rules by which image and request become a process.

use std::collections::BTreeMap;

use lamina_types::Resources;

use super::*;
use crate::logging::LogRequest;
use crate::request::{HealthRequest, IsolationRequest, PullPolicy};

/// A request for `docker.io/library/app` with nothing set.
pub(crate) fn request() -> CreateRequest {
    CreateRequest {
        image: "app".parse().unwrap(),
        platform: None,
        pull: PullPolicy::Missing,
        name: None,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        process: ProcessRequest::default(),
        isolation: IsolationRequest::default(),
        resources: Resources::default(),
        cgroup_parent: None,
        mounts: Vec::new(),
        volumes_from: Vec::new(),
        read_only: false,
        shm_size: None,
        devices: Vec::new(),
        sysctls: BTreeMap::new(),
        remove: false,
        restart: lamina_types::RestartPolicy::No,
        cidfile: None,
        log: LogRequest::default(),
        health: HealthRequest::default(),
    }
}

fn id() -> ContainerId {
    ContainerId::from_random([0xab; 32])
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn entrypoint_and_command_merge_as_docker_merges_them() {
    type Words<'a> = &'a [&'a str];
    // image entrypoint, image cmd, --entrypoint, arguments, result
    type Row<'a> = (
        Words<'a>,
        Words<'a>,
        Option<Words<'a>>,
        Words<'a>,
        Option<&'a str>,
    );
    let table: &[Row] = &[
        (&[], &["sh"], None, &[], Some("sh")),
        (&[], &["sh"], None, &["ls", "-l"], Some("ls -l")),
        (&["run"], &["a"], None, &[], Some("run a")),
        (&["run"], &["a"], None, &["b"], Some("run b")),
        // An entrypoint of one's own drops the image's arguments.
        (&["run"], &["a"], Some(&["sh"]), &[], Some("sh")),
        (
            &["run"],
            &["a"],
            Some(&["sh"]),
            &["-c", "x"],
            Some("sh -c x"),
        ),
        (&["run"], &["a"], Some(&[]), &["b"], Some("b")),
        (&["run"], &["a"], Some(&[]), &[], None),
        (&[], &[], None, &[], None),
        (&[], &[""], None, &[], None),
    ];
    for (entrypoint, cmd, asked, args, expected) in table {
        let image = Config {
            entrypoint: strings(entrypoint),
            cmd: strings(cmd),
            ..Config::default()
        };
        let process = ProcessRequest {
            entrypoint: asked.map(strings),
            args: strings(args),
            ..ProcessRequest::default()
        };
        let got = argv(&process, &image).ok().map(|argv| argv.join(" "));
        assert_eq!(got.as_deref(), *expected, "{image:?} {process:?}");
    }
}

#[test]
fn the_environment_is_dockers() {
    let image = Config {
        env: strings(&["PATH=/opt/bin", "LANG=C", "X=1"]),
        ..Config::default()
    };
    let mut asked = request();
    asked.process.env = strings(&["X=2", "LANG", "EMPTY=", "NOTHING", "A=b=c"]);
    asked.process.tty = true;
    asked.isolation.hostname = Some("web".to_owned());
    let got = plan(
        &asked,
        &Config {
            cmd: strings(&["sh"]),
            ..image.clone()
        },
        &id(),
    )
    .unwrap();
    assert_eq!(
        got.env,
        [
            "PATH=/opt/bin",
            "HOSTNAME=web",
            "TERM=xterm",
            "X=2",
            "EMPTY=",
            "A=b=c"
        ]
    );
    asked.process.env = strings(&["A=1", "HOSTNAME", "LANG=de"]);
    let shown = configured_env(&asked, &image);
    assert_eq!(shown, ["A=1", "LANG=de", "PATH=/opt/bin", "X=1"]);
    let got = env(&asked, &image, &id()).unwrap();
    assert_eq!(
        got,
        ["PATH=/opt/bin", "TERM=xterm", "A=1", "LANG=de", "X=1"]
    );
}

#[test]
fn without_an_image_environment_there_is_a_path_and_a_name() {
    let mut asked = request();
    let got = env(&asked, &Config::default(), &id()).unwrap();
    assert_eq!(got, [DEFAULT_PATH, "HOSTNAME=abababababab"]);
    asked.isolation.uts = NamespaceMode::Host;
    assert_eq!(
        env(&asked, &Config::default(), &id()).unwrap(),
        [DEFAULT_PATH]
    );
}

#[test]
fn what_cannot_be_passed_on_is_refused() {
    let image = Config {
        cmd: strings(&["sh"]),
        ..Config::default()
    };
    let with = |change: fn(&mut CreateRequest)| {
        let mut asked = request();
        change(&mut asked);
        plan(&asked, &image, &id())
    };
    assert!(with(|_| ()).is_ok());
    assert!(with(|r| r.process.args = strings(&["a\0b"])).is_err());
    assert!(with(|r| r.process.env = strings(&["A=\0"])).is_err());
    assert!(with(|r| r.process.env = strings(&["=x"])).is_err());
    assert!(with(|r| r.process.workdir = Some("src".into())).is_err());
    assert!(with(|r| r.process.group_add = strings(&["-1"])).is_err());
}

#[test]
fn an_images_user_is_a_number_or_a_name_and_nothing_between() {
    let verdict = |text: &str| {
        let image = Config {
            user: text.to_owned(),
            ..Config::default()
        };
        user(&ProcessRequest::default(), &image)
    };
    assert_eq!(verdict(""), Ok(None));
    for good in ["0", "1000:1000", "app", "app:ops", "4294967294"] {
        assert!(verdict(good).is_ok(), "{good:?}");
    }
    for bad in [
        "+0",
        "00",
        "0x0",
        "-0",
        "-1",
        " 0",
        "0 ",
        "0\n",
        "\u{966}",
        "root ",
        "0:+0",
        ":0",
        "1:",
        "a:b:c",
        "4294967295",
        "4294967296",
        "99999999999",
        "18446744073709551616",
        "0:4294967295",
    ] {
        assert!(verdict(bad).is_err(), "{bad:?} must be refused");
    }
}

#[test]
fn working_directories_stay_in_the_root() {
    let cwd_of = |asked: Option<&str>, image: &str| {
        let process = ProcessRequest {
            workdir: asked.map(PathBuf::from),
            ..ProcessRequest::default()
        };
        let image = Config {
            working_dir: image.to_owned(),
            ..Config::default()
        };
        cwd(&process, &image).map(|cwd| cwd.display().to_string())
    };
    for (asked, image, expected) in [
        (None, "", "/"),
        (None, "/app", "/app"),
        (None, "app/./x/", "/app/x"),
        (None, "/a/../../../b", "/b"),
        (Some("/src"), "/app", "/src"),
    ] {
        assert_eq!(cwd_of(asked, image).unwrap(), expected);
    }
    assert!(cwd_of(Some("rel"), "").is_err());
}

#[test]
fn signals_come_from_the_request_then_the_image() {
    let image = |text: &str| Config {
        stop_signal: text.to_owned(),
        ..Config::default()
    };
    let asked = ProcessRequest {
        stop_signal: Some(Signal(2)),
        ..ProcessRequest::default()
    };
    assert_eq!(stop_signal(&asked, &image("SIGQUIT")), Ok(Signal(2)));
    let none = ProcessRequest::default();
    assert_eq!(stop_signal(&none, &image("SIGQUIT")), Ok(Signal(3)));
    assert_eq!(stop_signal(&none, &image("")), Ok(Signal(15)));
    assert!(stop_signal(&none, &image("SIGNOPE")).is_err());
}
