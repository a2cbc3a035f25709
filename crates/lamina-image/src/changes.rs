//! `--change`: the Dockerfile instructions that alter only an image's configuration.

use std::collections::BTreeMap;

use lamina_types::oci::Config;
use serde_json::{Map, Value};

/// Why a `--change` is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The instruction is unknown or is not one that only alters the configuration.
    #[error("{0:?} is not a valid change command")]
    Unknown(String),
    /// Its arguments are wrong.
    #[error("the change {0:?} has malformed arguments")]
    Malformed(String),
}

/// Applies changes in order. As in a build, a new entrypoint drops the arguments that were meant for
/// the other one, unless a change gives arguments too.
pub(crate) fn apply_changes(config: &mut Config, changes: &[String]) -> Result<(), ChangeError> {
    let has = |word: &str| {
        let mut words = changes.iter().map(|c| c.split_whitespace().next());
        words.any(|first| first.is_some_and(|first| first.eq_ignore_ascii_case(word)))
    };
    if has("ENTRYPOINT") && !has("CMD") {
        config.cmd.clear();
    }
    changes
        .iter()
        .try_for_each(|change| apply_change(config, change))
}

/// Applies one change, such as `CMD ["sh"]` or `ENV A=1 B=2`, to a configuration.
pub fn apply_change(config: &mut Config, change: &str) -> Result<(), ChangeError> {
    let change = change.trim();
    let malformed = || ChangeError::Malformed(clip(change));
    let (word, rest) = change
        .split_once(char::is_whitespace)
        .ok_or_else(malformed)?;
    let rest = rest.trim();
    match word.to_ascii_uppercase().as_str() {
        "CMD" => config.cmd = command(rest),
        "ENTRYPOINT" => config.entrypoint = command(rest),
        "ENV" => {
            for (name, value) in pairs(rest).ok_or_else(malformed)? {
                set_env(&mut config.env, &name, &value);
            }
        }
        "LABEL" => config.labels.extend(pairs(rest).ok_or_else(malformed)?),
        "WORKDIR" => config.working_dir = directory(&config.working_dir, rest),
        "USER" if !rest.contains(char::is_whitespace) => rest.clone_into(&mut config.user),
        "STOPSIGNAL" if is_word(rest) => rest.clone_into(&mut config.stop_signal),
        "EXPOSE" => {
            let ports = rest.split_whitespace().map(port);
            let ports: Option<Vec<String>> = ports.collect();
            extend_set(&mut config.exposed_ports, ports.ok_or_else(malformed)?);
        }
        "VOLUME" => {
            let paths = json_list(rest);
            let paths =
                paths.unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect());
            if paths.iter().any(|path| !path.starts_with('/')) {
                return Err(malformed());
            }
            extend_set(&mut config.volumes, paths);
        }
        "ONBUILD" if may_trigger(rest) => {
            let list = config.other.entry("OnBuild").or_insert(Value::Null);
            let mut steps = list.as_array().cloned().unwrap_or_default();
            steps.push(Value::from(rest));
            *list = Value::from(steps);
        }
        "HEALTHCHECK" => {
            let check = healthcheck(rest).ok_or_else(malformed)?;
            config.other.insert("Healthcheck".to_owned(), check);
        }
        "USER" | "STOPSIGNAL" | "ONBUILD" => return Err(malformed()),
        _ => return Err(ChangeError::Unknown(clip(word))),
    }
    Ok(())
}

fn clip(text: &str) -> String {
    text.chars().take(160).collect()
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'-')
}

fn extend_set(set: &mut BTreeMap<String, Value>, keys: Vec<String>) {
    let empty = || Value::Object(Map::new());
    set.extend(keys.into_iter().map(|key| (key, empty())));
}

fn json_list(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

/// A JSON list is the exec form; anything else is for the shell.
fn command(text: &str) -> Vec<String> {
    json_list(text).unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()])
}

/// A build may be told to do anything later but to begin or to wait for itself.
fn may_trigger(step: &str) -> bool {
    let word = step.split_whitespace().next().unwrap_or_default();
    let refused = ["ONBUILD", "FROM", "MAINTAINER"];
    !word.is_empty() && !refused.iter().any(|no| word.eq_ignore_ascii_case(no))
}

/// `NONE`, or `[--interval=30s] [--timeout=…] [--start-period=…] [--start-interval=…] [--retries=3]
/// CMD command`, as configurations have it: times in nanoseconds.
fn healthcheck(text: &str) -> Option<Value> {
    let mut check = Map::new();
    let mut rest = text.trim();
    while rest.starts_with("--") {
        let (flag, tail) = rest.split_once(char::is_whitespace)?;
        let (name, value) = flag.split_once('=')?;
        let (key, number) = match name {
            "--retries" => ("Retries", value.parse::<u32>().ok()?.into()),
            _ => {
                let key = match name {
                    "--interval" => "Interval",
                    "--timeout" => "Timeout",
                    "--start-period" => "StartPeriod",
                    "--start-interval" => "StartInterval",
                    _ => return None,
                };
                let span: jiff::SignedDuration = value.parse().ok()?;
                (key, u64::try_from(span.as_nanos()).ok()?)
            }
        };
        check.insert(key.to_owned(), Value::from(number));
        rest = tail.trim_start();
    }
    let (word, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim();
    let test = match word.to_ascii_uppercase().as_str() {
        "NONE" if command.is_empty() => vec!["NONE".to_owned()],
        "CMD" if !command.is_empty() => match json_list(command) {
            Some(words) if words.is_empty() => return None,
            Some(words) => [vec!["CMD".to_owned()], words].concat(),
            None => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        },
        _ => return None,
    };
    check.insert("Test".to_owned(), Value::from(test));
    Some(Value::Object(check))
}

fn directory(current: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    format!("{}/{path}", current.trim_end_matches('/'))
}

fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let entry = format!("{name}={value}");
    let same = |e: &String| e.split('=').next() == Some(name);
    match env.iter().position(same) {
        Some(at) => env[at] = entry,
        None => env.push(entry),
    }
}

/// `80`, `80/udp`: the protocol is tcp unless said.
fn port(text: &str) -> Option<String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let numbers = number
        .split('-')
        .all(|n| n.parse::<u16>().is_ok_and(|n| n > 0));
    let known = matches!(protocol, "tcp" | "udp" | "sctp");
    (numbers && known && number.split('-').count() <= 2).then(|| format!("{number}/{protocol}"))
}

/// `NAME=value NAME="two words"`, or the old form `NAME the rest`.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let words = words(text)?;
    let first = words.first()?;
    if !first.contains('=') {
        let (name, value) = text.split_once(char::is_whitespace)?;
        return Some(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    let split = words.iter().map(|word| {
        let (name, value) = word.split_once('=')?;
        (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
    });
    split.collect()
}

/// Splits at blanks outside quotes; quotes are removed, a backslash keeps the next character.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', Some('"') | None) => word.get_or_insert_default().push(chars.next()?),
            (c, Some(q)) if c == q => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Result<Config, ChangeError> {
        let mut config = Config::default();
        for change in changes {
            apply_change(&mut config, change)?;
        }
        Ok(config)
    }

    #[test]
    fn every_instruction_alters_its_field() {
        let config = changed(&[
            "CMD [\"sh\", \"-l\"]",
            "entrypoint run me",
            "ENV A=1 B=\"two words\" C=x\\ y",
            "ENV A two",
            "LABEL a.b=\"c d\"",
            "WORKDIR /srv",
            "WORKDIR sub",
            "USER 1000:1000",
            "EXPOSE 80 53/udp 8000-8010",
            "VOLUME [\"/data\"]",
            "VOLUME /a /b",
            "STOPSIGNAL SIGQUIT",
            "ONBUILD RUN make",
            "HEALTHCHECK --interval=1m30s --retries=2 CMD curl -f x",
        ])
        .unwrap();
        assert_eq!(config.cmd, ["sh", "-l"]);
        assert_eq!(config.entrypoint, ["/bin/sh", "-c", "run me"]);
        assert_eq!(config.env, ["A=two", "B=two words", "C=x y"]);
        assert_eq!(config.labels["a.b"], "c d");
        assert_eq!(config.working_dir, "/srv/sub");
        assert_eq!(config.user, "1000:1000");
        let ports: Vec<&String> = config.exposed_ports.keys().collect();
        assert_eq!(ports, ["53/udp", "80/tcp", "8000-8010/tcp"]);
        assert_eq!(config.volumes.len(), 3);
        assert_eq!(config.stop_signal, "SIGQUIT");
        assert_eq!(config.other["OnBuild"], serde_json::json!(["RUN make"]));
        let check = serde_json::json!({
            "Test": ["CMD-SHELL", "curl -f x"], "Interval": 90_000_000_000_u64, "Retries": 2,
        });
        assert_eq!(config.other["Healthcheck"], check);
    }

    #[test]
    fn a_new_entrypoint_drops_the_arguments_of_the_old_one() {
        let apply = |changes: &[&str]| {
            let mut config = Config {
                cmd: vec!["old".to_owned()],
                ..Config::default()
            };
            let changes: Vec<String> = changes.iter().map(|&c| c.to_owned()).collect();
            apply_changes(&mut config, &changes).unwrap();
            config.cmd
        };
        assert!(apply(&["entrypoint [\"x\"]"]).is_empty());
        assert_eq!(apply(&["CMD [\"new\"]", "ENTRYPOINT [\"x\"]"]), ["new"]);
        assert_eq!(apply(&["ENV A=1"]), ["old"]);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "",
            "CMD",
            "RUN x",
            "EXPOSE 0",
            "EXPOSE 80/http",
            "EXPOSE x",
            "ENV =x",
            "ENV A=\"x",
            "VOLUME data",
            "USER a b",
            "STOPSIGNAL",
            "FROM x",
            "ONBUILD FROM x",
            "HEALTHCHECK",
            "HEALTHCHECK CMD",
            "HEALTHCHECK --often=1s CMD x",
            "HEALTHCHECK NONE x",
        ] {
            assert!(changed(&[bad]).is_err(), "{bad:?}");
        }
    }
}
