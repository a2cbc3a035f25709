//! Create, start, fail, end.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use lamina_runtime::{StartError, start_outcome};
use lamina_types::ErrorKind;
use lamina_types::explain::Step;
use oci_spec::runtime::LinuxNamespaceType as Kind;

use crate::containers::{Container, Output, code, finish};

pub(crate) fn privileged_exec_failures_have_dockers_codes() {
    for (program, expected, said) in [
        (
            "nothere",
            127,
            "exec: \"nothere\": executable file not found in $PATH",
        ),
        (
            "/no/where",
            127,
            "exec: \"/no/where\": stat /no/where: no such file or directory",
        ),
        ("/etc", 126, "exec: \"/etc\": is a directory"),
        ("/etc/text", 126, "exec: \"/etc/text\": permission denied"),
        ("/etc/junk", 126, "exec: \"/etc/junk\": exec format error"),
        (
            "/etc/script",
            127,
            "exec: \"/etc/script\": no such file or directory (its interpreter is missing)",
        ),
        (
            "/etc/loop",
            126,
            "exec: \"/etc/loop\": too many levels of symbolic links",
        ),
    ] {
        let mut container = Container::new("");
        let etc = |name: &str, text: &str, mode: u32| {
            let path = container.path("lower/etc").join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        etc("text", "x", 0o644);
        etc("junk", "\x7fjunk", 0o755);
        etc("script", "#!/no/interpreter\n", 0o755);
        symlink("loop", container.path("lower/etc/loop")).unwrap();
        container.args(&[program]);
        let (created, output) = container.create().unwrap();
        let error = container.start(&created).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (expected, said));
        assert!(matches!(error, StartError::Refused { .. }));
        assert_eq!(finish(created, output).code, i32::from(expected));
    }
}

pub(crate) fn privileged_start_works_once() {
    let container = Container::new("sleep 0.05; exit 7");
    let (created, output) = container.create().unwrap();
    container.start(&created).unwrap();
    let again = lamina_runtime::start(&container.path("bundle")).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::FailedPrecondition, "{again}");
    assert_eq!(finish(created, output).code, 7);
}

pub(crate) fn privileged_a_start_ordered_ahead_needs_no_second_word() {
    let namespace = || fs::read_link("/proc/self/ns/net").unwrap();
    let own = namespace();
    for is_init_expected in [false, true] {
        let script = "readlink /proc/self/ns/net; ip addr show lo; readlink /proc/self/exe; exit 7";
        let container = Container::new(script);
        let (created, output) = container.begin(is_init_expected, || {});
        start_outcome(&created.errors).unwrap();
        assert_eq!(namespace(), own, "the caller is back in its own namespace");
        let Output { text, code } = finish(created, output);
        assert_eq!(code, 7, "{text}");
        assert!(text.starts_with("net:["), "{text}");
        assert!(!text.starts_with(own.to_str().unwrap()), "{text}");
        assert!(text.contains("127.0.0.1/8"), "{text}");
        assert!(!container.path("bundle/start.fifo").exists());

        // One that the spec does not want is not used.
        let mut container = Container::new("readlink /proc/self/ns/net");
        let namespaces = container.linux().namespaces_mut().as_mut().unwrap();
        namespaces.retain(|one| one.typ() != Kind::Network);
        let (created, output) = container.begin(is_init_expected, || {});
        assert_eq!(
            finish(created, output).text.trim_end(),
            own.to_str().unwrap()
        );
    }
    assert_eq!(children(), 0, "what was not used is reaped");
}

fn children() -> usize {
    let id = std::process::id();
    let text = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    text.split_whitespace().count()
}

pub(crate) fn privileged_what_was_mounted_since_init_was_cloned_is_seen() {
    let mut container = Container::new("cat /seen/file");
    let source = container.path("source");
    fs::create_dir(&source).unwrap();
    container.mount("/seen", "bind", &source, &["bind"]);
    let (created, output) = container.begin(true, || {
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", &source, "tmpfs", flags, None).unwrap();
        // As where nothing shares its mounts.
        let private = rustix::mount::MountPropagationFlags::PRIVATE;
        rustix::mount::mount_change(&source, private).unwrap();
        fs::write(source.join("file"), "mounted\n").unwrap();
    });
    rustix::mount::unmount(&source, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(finish(created, output).text, "mounted\n");
}

/// As an init leaves it that was given up after it had mounted.
pub(crate) fn privileged_a_volatile_layer_is_mounted_once_more() {
    let container = Container::new("echo again");
    let mark = container.path("work/work/incompat/volatile");
    fs::create_dir_all(&mark).unwrap();
    fs::write(mark.join("dirty"), "").unwrap();
    assert_eq!(container.run().text, "again\n");
}

pub(crate) fn privileged_a_failed_create_leaves_nothing() {
    let mut container = Container::new("true");
    container.mount("/x", "bind", Path::new("/no/such/source"), &["bind"]);
    let error = container.create().map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        error.to_string(),
        "set up the container: bind /no/such/source: no such file or directory"
    );
    let id = container.id.to_string();
    let left = fs::read_dir("/sys/fs/cgroup")
        .unwrap()
        .filter_map(Result::ok);
    let left: Vec<_> = left
        .map(|entry| entry.path().join("lamina").join(format!("lamina-{id}")))
        .filter(|path| path.exists())
        .collect();
    assert!(left.is_empty(), "{left:?}");
    // Nobody is left to be reaped.
    let none = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
    assert_eq!(none.unwrap_err(), rustix::io::Errno::CHILD);
}

pub(crate) fn privileged_init_ends_with_its_parent() {
    let container = Container::new("true");
    let (created, output) = container.create().unwrap();
    let (pid, cgroup) = (created.pid, created.cgroup.clone().unwrap());
    // What the death of the parent looks like from the other end of the channel.
    drop(created.errors);
    let status = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
    assert_eq!(status.unwrap().unwrap().1.exit_status(), Some(125));
    cgroup.remove().unwrap();
    drop(output);
}

pub(crate) fn privileged_the_reaper_reaps_and_forwards() {
    let mut container = Container::new(
        "trap 'echo caught; exit 9' TERM; (sleep 0.02 & ) ; echo pid $$; \
         sleep 0.1; echo zombies $(ps -o stat | grep -c Z); echo ready; while :; do sleep 0.01; done",
    );
    container.reaper = true;
    let (created, output) = container.create().unwrap();
    container.start(&created).unwrap();
    let mut output = File::from(output);
    let mut text = String::new();
    let mut byte = [0_u8; 1];
    while !text.contains("ready") {
        output.read_exact(&mut byte).unwrap();
        text.push(char::from(byte[0]));
    }
    rustix::process::kill_process(created.pid, rustix::process::Signal::TERM).unwrap();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(text, "pid 2\nzombies 0\nready\ncaught\n");
    assert_eq!(code(&created), 9);
    created.cgroup.unwrap().remove().unwrap();
}

pub(crate) fn privileged_a_terminal_is_the_containers_own() {
    let mut container = Container::new(
        "tty; test -c /dev/console && echo console; echo hi > /dev/tty; stat -c %t:%T /dev/console; \
         stat -c %u $(tty); ls /dev/pts; cat",
    );
    container.terminal = true;
    container.process().set_terminal(Some(true));
    let (created, _output) = container.create().unwrap();
    let mut master = File::from(created.terminal.as_ref().unwrap().try_clone().unwrap());
    container.start(&created).unwrap();
    master.write_all(b"typed\n\x04").unwrap();
    let mut text = Vec::new();
    let mut chunk = [0_u8; 256];
    // A pty master says EIO when the last slave is closed.
    while let Ok(read @ 1..) = master.read(&mut chunk) {
        text.extend_from_slice(&chunk[..read]);
    }
    let text = String::from_utf8(text).unwrap().replace('\r', "");
    for expected in [
        "/dev/pts/0\n",
        "console\n",
        "hi\n",
        "88:0\n",
        " ptmx\n",
        "typed\n",
    ] {
        assert!(text.contains(expected), "{expected:?} in {text:?}");
    }
    assert_eq!(code(&created), 0);
    created.cgroup.unwrap().remove().unwrap();
}

pub(crate) fn privileged_steps_are_explained() {
    let (reading, writing) = rustix::pipe::pipe().unwrap();
    let container = Container::new("true");
    let (created, output) = container.create_explained(Some(&writing)).unwrap();
    container.start(&created).unwrap();
    finish(created, output);
    drop(writing);
    let mut lines = String::new();
    File::from(reading).read_to_string(&mut lines).unwrap();
    let steps: Vec<Step> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let commands: Vec<&str> = steps.iter().map(|step| step.command.as_str()).collect();
    assert!(
        commands
            .iter()
            .any(|c| c.starts_with("mount -t overlay -o lowerdir=")),
        "{commands:?}"
    );
    assert!(commands.contains(&"hostname boxed"), "{commands:?}");
    assert_eq!(steps.last().unwrap().what, "execute");
    assert!(steps.iter().all(|step| step.process == "init"));
}

/// Waits until something holds, two seconds at most.
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(2);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
