//! External helpers: `docker-credential-NAME get|store|erase`, the server's name or JSON on stdin,
//! JSON on stdout.
//!
//! A helper is another's program: its time and output are bounded, and nothing it prints gets
//! into a message.

use std::io::{self, Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use std::os::unix::process::CommandExt as _;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;

use super::{Credential, CredentialsError, Secret};

/// The most a helper may print.
const OUTPUT_MAX: u64 = 64 << 10;
/// What every helper prints when it has nothing for the server.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// What it gives as user name for an identity token.
const TOKEN_USER: &str = "<token>";

/// Asks helper `name`, which `file` names, for the credential of `server`.
pub(super) fn get(
    file: &Path,
    name: &str,
    server: &str,
    limit: Duration,
) -> Result<Option<Credential>, CredentialsError> {
    check_name(file, name)?;
    let failed = |why: &str| CredentialsError::HelperFailed {
        name: name.to_owned(),
        registry: server.to_owned(),
        why: why.to_owned(),
    };
    let (status, output) = run(name, "get", server.as_bytes(), limit)?;
    if output.len() as u64 > OUTPUT_MAX {
        return Err(failed("too much output"));
    }
    if !status.success() {
        if String::from_utf8_lossy(&output).trim() == NOT_FOUND {
            return Ok(None);
        }
        return Err(failed(&status.to_string()));
    }
    let answer: HelperAnswer =
        serde_json::from_slice(&output).map_err(|_| failed("its output is not valid"))?;
    Ok(answer.into_credential())
}

/// Has helper `name` keep a user name and password for `server`.
pub(super) fn store(
    file: &Path,
    name: &str,
    server: &str,
    username: &str,
    password: &Secret,
    limit: Duration,
) -> Result<(), CredentialsError> {
    check_name(file, name)?;
    let told = serde_json::json!({
        "ServerURL": server, "Username": username, "Secret": password.expose(),
    });
    let (status, _) = run(name, "store", told.to_string().as_bytes(), limit)?;
    succeeded(name, server, status)
}

/// Has helper `name` forget what it keeps for `server`; nothing to forget is no failure.
pub(super) fn erase(
    file: &Path,
    name: &str,
    server: &str,
    limit: Duration,
) -> Result<(), CredentialsError> {
    check_name(file, name)?;
    let (status, output) = run(name, "erase", server.as_bytes(), limit)?;
    if String::from_utf8_lossy(&output).trim() == NOT_FOUND {
        return Ok(());
    }
    succeeded(name, server, status)
}

fn succeeded(name: &str, server: &str, status: ExitStatus) -> Result<(), CredentialsError> {
    if status.success() {
        return Ok(());
    }
    Err(CredentialsError::HelperFailed {
        name: name.to_owned(),
        registry: server.to_owned(),
        why: status.to_string(),
    })
}

fn check_name(file: &Path, name: &str) -> Result<(), CredentialsError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(CredentialsError::HelperName {
            name: name.chars().take(80).collect(),
            path: file.to_owned(),
        });
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

impl HelperAnswer {
    fn into_credential(self) -> Option<Credential> {
        if self.secret.is_empty() {
            return None;
        }
        let secret = Secret::new(self.secret);
        if self.username == TOKEN_USER {
            return Some(Credential::IdentityToken(secret));
        }
        Some(Credential::Password {
            username: self.username,
            password: secret,
        })
    }
}

/// Runs the helper in a process group of its own, which is killed when time is up.
fn run(
    name: &str,
    verb: &str,
    input: &[u8],
    limit: Duration,
) -> Result<(ExitStatus, Vec<u8>), CredentialsError> {
    let start = |source: io::Error| CredentialsError::HelperStart {
        name: name.to_owned(),
        source,
    };
    let deadline = Instant::now() + limit;
    let mut child = Command::new(format!("docker-credential-{name}"))
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read its input may still know the answer; what it is told fits the pipe.
        let _ = stdin.write_all(input);
    }
    let output = child.stdout.take();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(output) = output {
            // An error here shows as output that is cut short, which does not parse.
            let _ = output.take(OUTPUT_MAX + 1).read_to_end(&mut bytes);
        }
        let _ = sender.send(bytes);
    });
    let bytes = receiver.recv_timeout(limit);
    let status = match &bytes {
        Ok(_) => wait_until(&mut child, deadline),
        Err(_) => None,
    };
    let Some((bytes, status)) = bytes.ok().zip(status) else {
        kill(&mut child);
        return Err(CredentialsError::HelperTimeout {
            name: name.to_owned(),
            after: limit,
        });
    };
    Ok((status, bytes))
}

/// Waits for a child that has closed its output, which ends within moments if it is honest.
fn wait_until(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn kill(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended meanwhile; the group still holds its children.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}
