//! Capabilities and `--security-opt`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use lamina_engine::{IsolationRequest, SeccompMode};
use lamina_types::ErrorKind;

use crate::exit_codes;
use crate::failure::{Failure, Outcome};

/// A longer file is no seccomp profile; moby's own is 12 KiB.
const PROFILE_MAX: u64 = 1 << 20;

/// A seccomp profile cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("opening seccomp profile ({path}) failed")]
struct ProfileError {
    path: String,
    source: std::io::Error,
}

/// Brings names of capabilities to one form: upper case, without `CAP_`.
pub(super) fn capabilities(flag: &'static str, given: &[String]) -> Outcome<Vec<String>> {
    let normalise = |text: &String| {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        if name.is_empty() || name.len() > 40 || !name.bytes().all(plain) {
            return Err(Failure::usage(format!(
                "invalid argument {text:?} for {flag}: no capability"
            ))
            .hint("capabilities(7) lists them: NET_ADMIN, SYS_PTRACE, …"));
        }
        Ok(name.to_owned())
    };
    given.iter().map(normalise).collect()
}

/// Applies one `--security-opt`; name and value are separated by `=` or, as formerly, `:`.
pub(super) fn option(text: &str, request: &mut IsolationRequest, cwd: &Path) -> Outcome {
    let (name, value) = match text.find(['=', ':']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    match (name, value) {
        ("no-new-privileges", None | Some("true")) => request.no_new_privileges = true,
        ("no-new-privileges", Some("false")) => request.no_new_privileges = false,
        ("seccomp", Some("unconfined")) => request.seccomp = SeccompMode::Unconfined,
        ("seccomp", Some("builtin" | "default")) => request.seccomp = SeccompMode::Default,
        ("seccomp", Some(path)) if !path.is_empty() => {
            request.seccomp = SeccompMode::Profile(profile(&cwd.join(path))?);
        }
        ("label", Some(label)) if !label.is_empty() => request.label.push(label.to_owned()),
        ("systempaths", Some("unconfined")) => request.systempaths_unconfined = true,
        // There is no AppArmor profile to leave.
        ("apparmor", Some("unconfined")) => {}
        ("apparmor", Some(profile)) => {
            return Err(Failure::usage(format!(
                "AppArmor profile {profile:?} cannot be applied: AppArmor is not supported in this version"
            )));
        }
        _ => {
            return Err(Failure::usage(format!("invalid --security-opt: {text:?}")).hint(
                "known are seccomp=unconfined|FILE, no-new-privileges, label=…, systempaths=unconfined",
            ));
        }
    }
    Ok(())
}

fn profile(path: &Path) -> Outcome<String> {
    let shown = path.display().to_string();
    let fail = |source: std::io::Error| {
        let kind = ErrorKind::of_io(&source);
        let path = shown.clone();
        Failure::new(ProfileError { path, source }, kind).exits(exit_codes::ENGINE)
    };
    let mut text = String::new();
    let file = File::open(path).map_err(fail)?;
    file.take(PROFILE_MAX + 1)
        .read_to_string(&mut text)
        .map_err(fail)?;
    if text.len() as u64 > PROFILE_MAX {
        return Err(Failure::usage(format!(
            "{shown} is too long for a seccomp profile"
        )));
    }
    if serde_json::from_str::<serde_json::Value>(&text).is_err() {
        return Err(Failure::usage(format!(
            "decoding seccomp profile {shown} failed: it is no JSON"
        )));
    }
    Ok(text)
}
