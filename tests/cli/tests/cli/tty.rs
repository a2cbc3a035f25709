//! A real terminal: what is typed arrives, and the terminal is given back.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Child;

use lamina_testkit::Host;
use lamina_testkit::registry::{Registry, Reply};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// A terminal with a command on it.
struct Terminal {
    keyboard: File,
    line: OwnedFd,
    child: Child,
    seen: String,
}

impl Terminal {
    fn run(host: &Host, words: &[&str]) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let line = openat(CWD, &name, flags, Mode::empty()).unwrap();
        let size = Winsize {
            ws_row: 33,
            ws_col: 99,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&line, size).unwrap();
        let end = || line.try_clone().unwrap();
        let child = host
            .command(words)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        Self {
            keyboard: File::from(keyboard),
            line,
            child,
            seen: String::new(),
        }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Reads until the text has been seen; the line is held open here, so there is no end.
    fn wait_for(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        while !self.seen.contains(text) {
            let length = self.keyboard.read(&mut buffer).unwrap();
            self.seen += &String::from_utf8_lossy(&buffer[..length]);
        }
        self.seen.clear();
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.line).unwrap().local_modes;
        !modes.intersects(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

#[test]
fn privileged_a_shell_on_a_terminal() {
    let host = Host::new();
    host.ok(&["run", "--rm", "minimal", "true"]);
    let mut terminal = Terminal::run(&host, &["run", "--rm", "-it", "minimal", "sh"]);
    terminal.press("echo $((40 + 2))\n");
    terminal.wait_for("42");
    assert!(terminal.is_raw());
    terminal.press("test -t 0 && echo is\"_\"tty\n");
    terminal.wait_for("is_tty");
    terminal.press("exit 3\n");
    assert_eq!(terminal.exit_code(), Some(3));
    assert!(!terminal.is_raw());
    host.sweep();
}

#[test]
fn privileged_the_keys_that_detach() {
    let host = Host::new();
    host.ok(&["run", "--rm", "minimal", "true"]);
    let words = ["run", "-it", "--name", "one", "minimal", "sh"];
    let mut terminal = Terminal::run(&host, &words);
    terminal.press("echo re\"\"ady\n");
    terminal.wait_for("ready");
    terminal.press("\u{10}\u{11}");
    assert_eq!(terminal.exit_code(), Some(0));
    assert!(!terminal.is_raw());
    assert_eq!(host.ok(&["ps", "--format", "{{.Names}}"]), "one");
    host.ok(&["rm", "-f", "one"]);
    host.sweep();
}

#[test]
fn privileged_a_terminal_is_given_back_by_a_signal() {
    let host = Host::new();
    host.ok(&["run", "--rm", "minimal", "true"]);
    let script = "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done";
    let words = ["run", "--rm", "-it", "minimal", "sh", "-c", script];
    let mut terminal = Terminal::run(&host, &words);
    terminal.wait_for("up");
    assert!(terminal.is_raw());
    let pid = rustix::process::Pid::from_child(&terminal.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(terminal.exit_code(), Some(9));
    assert!(!terminal.is_raw());
    host.sweep();
}

#[test]
fn privileged_a_password_is_asked_for_and_not_shown() {
    let registry = Registry::start();
    registry.script(|request| {
        // `me:se`.
        let known = request.header("authorization") == Some("Basic bWU6c2U=");
        (!known).then(|| Reply::challenge("Basic realm=\"r\""))
    });
    let host = Host::new();
    let domain = registry.domain();
    let mut terminal = Terminal::run(&host, &["login", &domain]);
    terminal.wait_for("Username: ");
    terminal.press("me\n");
    terminal.wait_for("Password: ");
    while !terminal.is_raw() {
        std::thread::yield_now();
    }
    terminal.press("sex\u{7f}\n");
    terminal.wait_for("Login Succeeded");
    assert!(terminal.child.wait().unwrap().success());
    assert!(!terminal.is_raw());

    let mut terminal = Terminal::run(&host, &["login", "-u", "me", &domain]);
    terminal.wait_for("Password: ");
    while !terminal.is_raw() {
        std::thread::yield_now();
    }
    terminal.press("secret\u{3}");
    assert_eq!(terminal.child.wait().unwrap().code(), Some(130));
    assert!(!terminal.is_raw());
    host.sweep();
}
