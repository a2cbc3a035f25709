//! `lamina registry serve`: other people's tools, other machines of ours, passwords, TLS, and ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lamina_registry_tests::run;
use lamina_testkit::{Host, Outcome, have};

/// A server of a host's store.
struct Serving {
    process: Child,
    domain: String,
}

impl Serving {
    fn start(host: &Host, options: &[&str]) -> Self {
        let words = ["registry", "serve", "--listen", "127.0.0.1:0", "-q"];
        let mut command = host.command(&[&words[..], options].concat());
        let command = command.stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut process = command.spawn().expect("lamina");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let domain = line.trim().rsplit('/').next().expect("an address");
        Self {
            domain: domain.to_owned(),
            process,
        }
    }

    fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.domain)
    }

    /// Ends it with a signal, and returns its exit code.
    fn end(mut self, signal: &str) -> Option<i32> {
        run(Command::new("kill").args([signal, &self.process.id().to_string()]));
        let status = self.process.wait().expect("it ends");
        status.code().or(status.signal().map(|signal| 128 + signal))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Of a test that failed; one that is over has ended it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn skopeo(words: &[&str]) -> Outcome {
    Outcome::of(Command::new("skopeo").args(words).stdin(Stdio::null()))
}

#[test]
fn privileged_images_go_from_machine_to_machine() {
    if !have("skopeo") {
        return;
    }
    let (host, other) = (Host::new(), Host::new());
    host.ok(&["image", "create-minimal", "tools:1"]);
    let serving = Serving::start(&host, &["--writable"]);

    // Out by another tool, and in again under another name.
    let from = format!("docker://{}", serving.image("tools:1"));
    let copied = format!("oci:{}:x", host.folder().join("copied").display());
    let out = skopeo(&["copy", "-q", "--src-tls-verify=false", &from, &copied]);
    assert_eq!(out.code, 0, "{}", out.stderr);
    let to = format!("docker://{}", serving.image("team/copy:2"));
    let back = skopeo(&["copy", "-q", "--dest-tls-verify=false", &copied, &to]);
    assert_eq!(back.code, 0, "{}", back.stderr);
    let id = |host: &Host, name: &str| host.ok(&["inspect", "--format", "{{.Id}}", name]);
    assert_eq!(id(&host, "team/copy:2"), id(&host, "tools:1"));

    // To another machine of ours, and from it an image that nobody has here: it runs at once.
    let name = serving.image("tools:1");
    other.ok(&["pull", "-q", &name]);
    assert_eq!(id(&other, &name), id(&host, "tools:1"));
    other.ok(&[
        "image",
        "create-minimal",
        "--add",
        "/usr/bin/env",
        "theirs:1",
    ]);
    let theirs = serving.image("team/theirs:v1");
    other.ok(&["tag", "theirs:1", &theirs]);
    let pushed = other.ok(&["push", &theirs]);
    assert_eq!(id(&host, "team/theirs:v1"), id(&other, "theirs:1"));
    assert_eq!(
        host.ok(&["run", "--rm", "team/theirs:v1", "echo", "here"]),
        "here"
    );
    let digest = pushed.rsplit("digest: ").next().expect("a digest");
    let digest = digest.split(' ').next().expect("a digest");
    assert_eq!(
        host.ok(&[
            "images",
            "--digests",
            "--format",
            "{{.Digest}}",
            "team/theirs"
        ]),
        digest
    );
    assert_eq!(
        other.ok(&["search-tags", "-q", &serving.image("team/theirs")]),
        "v1"
    );
    let gone = skopeo(&[
        "delete",
        "--tls-verify=false",
        &format!("docker://{theirs}"),
    ]);
    assert_eq!(gone.code, 0, "{}", gone.stderr);
    assert_eq!(host.lamina(&["images", "-q", "team/theirs"]).stdout, "");

    assert_eq!(serving.end("-TERM"), Some(0));
    host.sweep();
    other.sweep();
}

/// Makes a certificate for this machine; returns the paths of it and of its key.
fn certificate(host: &Host) -> (String, String) {
    let file = |name: &str| host.folder().join(name).to_string_lossy().into_owned();
    let (certificate, key) = (file("cert.pem"), file("key.pem"));
    let words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 \
                 -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
    run(Command::new("openssl")
        .args(words.split_whitespace())
        .args(["-keyout", &key, "-out", &certificate]));
    (certificate, key)
}

#[test]
fn privileged_users_write_and_others_read() {
    if !["htpasswd", "openssl"].into_iter().all(have) {
        return;
    }
    let (host, other) = (Host::new(), Host::new());
    host.ok(&["image", "create-minimal", "tools:1"]);
    let users = host.folder().join("users").to_string_lossy().into_owned();
    let (certificate, key) = certificate(&host);
    run(Command::new("htpasswd").args(["-cbB", &users, "me", "secret"]));
    let options = [
        "--htpasswd",
        &users,
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
    ];
    let serving = Serving::start(&host, &options);
    let name = serving.image("tools:1");
    let refused = other.lamina(&["pull", "--tls-verify=true", &name]);
    assert_eq!(refused.code, 1, "a certificate that nobody vouches for");
    let config = other.folder().join(".config/lamina");
    std::fs::create_dir_all(&config).expect("a folder");
    let text = format!(
        "[registries.\"{}\"]\nca-files = [\"{certificate}\"]\n",
        serving.domain
    );
    let mut written = std::fs::File::create(config.join("config.toml")).expect("a file");
    written.write_all(text.as_bytes()).expect("a file");
    other.ok(&["pull", "-q", &name]);

    let mine = serving.image("me/tools:2");
    other.ok(&["tag", &name, &mine]);
    let refused = other.lamina(&["push", &mine]);
    assert_eq!(refused.code, 1);
    let hint = format!("hint: lamina login {}\n", serving.domain);
    assert!(refused.stderr.contains(&hint), "{}", refused.stderr);
    assert_ne!(
        other
            .lamina(&["login", "-u", "me", "-p", "wrong", &serving.domain])
            .code,
        0
    );
    other.ok(&["login", "-u", "me", "-p", "secret", &serving.domain]);
    other.ok(&["push", "-q", &mine]);
    assert_ne!(host.ok(&["images", "-q", "me/tools"]), "");
    assert_eq!(serving.end("-INT"), Some(0));

    let bad = host.lamina(&["registry", "serve", "--htpasswd", &key]);
    assert_eq!(bad.code, 1);
    assert!(
        bad.stderr.contains("is not of the form USER:HASH"),
        "{}",
        bad.stderr
    );
    host.sweep();
    other.sweep();
}

#[test]
fn privileged_a_killed_server_leaves_nothing_of_an_upload() {
    let host = Host::new();
    let serving = Serving::start(&host, &["--writable"]);
    let mut stream = TcpStream::connect(&serving.domain).expect("a connection");
    let request = "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("a request");
    let mut reader = BufReader::new(stream.try_clone().expect("a connection"));
    let mut location = String::new();
    while !location.starts_with("location: ") {
        location.clear();
        assert_ne!(reader.read_line(&mut location).expect("an answer"), 0);
    }
    let path = location.trim().trim_start_matches("location: ").to_owned();
    let head = format!("PATCH {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("a request");
    for _ in 0..8 {
        stream.write_all(&vec![7; 1 << 20]).expect("a body");
    }
    // A blob that has come and that no manifest follows.
    let deadline = Instant::now() + Duration::from_secs(60);
    while open_files(serving.process.id()) == 0 {
        assert!(Instant::now() < deadline, "nothing is written");
        sleep(Duration::from_millis(10));
    }
    assert_eq!(serving.end("-KILL"), Some(137));
    host.ok(&["images"]);
    for folder in ["ops", "partial", "oci/blobs/sha256"] {
        let path = host.root().join(folder);
        assert_eq!(path.read_dir().map_or(0, Iterator::count), 0, "{folder}");
    }
    host.sweep();
}

/// Returns how many files without a name a process has open.
fn open_files(pid: u32) -> usize {
    let folder = Path::new("/proc").join(pid.to_string()).join("fd");
    let files = folder.read_dir().into_iter().flatten().flatten();
    let nameless = |target: &Path| target.to_string_lossy().contains("oci/blobs/sha256/#");
    files
        .filter_map(|file| file.path().read_link().ok())
        .filter(|target| nameless(target))
        .count()
}
