//! Transcripts: a command, what it said, and its exit code, with what differs from run to run
//! replaced.

#![forbid(unsafe_code)]

use lamina_testkit::{Host, Outcome};

/// Runs a command and returns its transcript.
#[must_use = "compare the transcript with what it should be"]
pub fn transcript(host: &Host, words: &[&str]) -> String {
    show(host, &host.lamina(words))
}

/// Returns an outcome as a transcript: stdout, stderr marked with `!`, and the exit code.
#[must_use = "compare the transcript with what it should be"]
pub fn show(host: &Host, outcome: &Outcome) -> String {
    let mut text = outcome.stdout.clone();
    for line in outcome.stderr.lines() {
        text += &format!("! {line}\n");
    }
    text += &format!("[exit {}]\n", outcome.code);
    normalise(host, &text)
}

/// Returns what `events` tells of all that has happened so far, with these flags.
pub fn past_events(host: &Host, flags: &[&str]) -> String {
    host.ok(&[&["events", "--since", "1", "--until", "0s"], flags].concat())
}

/// Replaces the host's folder and everything that looks like an id.
pub fn normalise(host: &Host, text: &str) -> String {
    let folder = host.folder().to_string_lossy().into_owned();
    let text = text.replace(&folder, "[HOST]");
    let mut shown = String::with_capacity(text.len());
    let mut word = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_alphanumeric() {
            word.push(c);
            continue;
        }
        let hex = word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match word.len() {
            12 if hex => shown.push_str("[SHORT ID]"),
            64 if hex => shown.push_str("[ID]"),
            _ => shown.push_str(&word),
        }
        word.clear();
        if c != '\0' {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_folders_are_replaced() {
        let host = Host::new();
        let text = format!(
            "{}/x {} deadbeefcafe dead",
            host.folder().display(),
            "a".repeat(64)
        );
        assert_eq!(normalise(&host, &text), "[HOST]/x [ID] [SHORT ID] dead");
    }
}
