//! What `run` begins before its arguments are read: its container's monitor.

use std::ffi::OsString;

use lamina_engine::Early;

use crate::environment::Environment;

/// Starts a monitor if the words are those of a plain `lamina run`.
///
/// A guess that costs nothing where it is wrong: a monitor that nobody needs ends by itself, and
/// namespaces that are not wanted go.
pub(crate) fn monitor(words: &[OsString], environment: &Environment) -> Option<Early> {
    let [_, verb, rest @ ..] = words else {
        return None;
    };
    let starts_with =
        |word: &OsString, text: &str| word.as_encoded_bytes().starts_with(text.as_bytes());
    // An explained monitor needs the pipe for its steps from birth.
    let is_plain = verb == "run" && !rest.iter().any(|word| starts_with(word, "--explain"));
    if !is_plain || !rustix::process::geteuid().is_root() {
        return None;
    }
    let is_host = |word: &OsString| word == "host" || word.as_encoded_bytes().ends_with(b"=host");
    let run = environment
        .working_directory()
        .ok()?
        .join(environment.run());
    Early::spawn(&run, &environment.binary().ok()?, !rest.iter().any(is_host))
}
