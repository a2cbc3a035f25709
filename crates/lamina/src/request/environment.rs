//! `-e`, `--env-file`, `-l`, `--label-file` as Docker reads them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use lamina_types::ErrorKind;

use crate::environment::Environment;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};

/// A longer file is no list of variables.
const FILE_MAX: u64 = 4 << 20;

/// A file of variables or labels cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
struct FileError {
    path: String,
    source: std::io::Error,
}

/// Returns `NAME=value` for each variable, those of files first; `NAME` alone where `-e` names a
/// variable that is not set, which removes the image's.
pub(crate) fn variables(
    given: &[String],
    files: &[impl AsRef<Path>],
    environment: &Environment,
) -> Outcome<Vec<String>> {
    let mut variables = Vec::new();
    for file in files {
        for line in lines(file.as_ref())? {
            // In a file a name alone is skipped where the variable is not set.
            match line.contains('=') {
                true => variables.push(line),
                false => variables.extend(from_host(&line, environment)?),
            }
        }
    }
    for text in given {
        match text.split_once('=') {
            Some(("", _)) => {
                return Err(Failure::usage(format!(
                    "invalid environment variable: {text}"
                )));
            }
            _ if text.is_empty() || text.contains('\0') => {
                return Err(Failure::usage(
                    "invalid environment variable: empty, or with a NUL",
                ));
            }
            Some(_) => variables.push(text.clone()),
            None => variables.push(from_host(text, environment)?.unwrap_or_else(|| text.clone())),
        }
    }
    Ok(variables)
}

fn from_host(name: &str, environment: &Environment) -> Outcome<Option<String>> {
    let Some(value) = environment.variable(name) else {
        return Ok(None);
    };
    let value = value.into_string().map_err(|_| {
        Failure::usage(format!(
            "the environment variable {name} is not valid UTF-8"
        ))
    })?;
    Ok(Some(format!("{name}={value}")))
}

/// Returns labels, those of files first; a label without a value is empty.
pub(super) fn labels(
    given: &[String],
    files: &[impl AsRef<Path>],
) -> Outcome<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    let mut pairs = Vec::new();
    for file in files {
        pairs.extend(lines(file.as_ref())?);
    }
    pairs.extend(given.iter().cloned());
    for pair in pairs {
        let (key, value) = pair.split_once('=').unwrap_or((&pair, ""));
        if key.is_empty() {
            return Err(Failure::usage(format!("invalid label: {pair:?}")));
        }
        labels.insert(key.to_owned(), value.to_owned());
    }
    Ok(labels)
}

/// Reads a file of `NAME=value` lines: blank lines and those that begin with `#` are skipped,
/// white space before a name is dropped, everything after the `=` is kept as it stands.
fn lines(path: &Path) -> Outcome<Vec<String>> {
    let shown = path.display().to_string();
    let fail = |source: std::io::Error| {
        let kind = ErrorKind::of_io(&source);
        let path = shown.clone();
        Failure::new(FileError { path, source }, kind).exits(exit_codes::ENGINE)
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(fail)?;
    file.take(FILE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(Failure::usage(format!(
            "{shown} is too long for a list of variables"
        )));
    }
    parse_lines(&bytes).map_err(|problem| Failure::usage(format!("{shown}: {problem}")))
}

fn parse_lines(bytes: &[u8]) -> Result<Vec<String>, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut pairs = Vec::new();
    for (number, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let number = number + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line)
            .map_err(|_| format!("line {number} is not valid UTF-8"))?
            .trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split_once('=').map_or(line, |(name, _)| name);
        if name.is_empty() {
            return Err(format!("no variable name on line {number}"));
        }
        if name.contains(char::is_whitespace) {
            return Err(format!(
                "variable {name:?} on line {number} contains whitespace"
            ));
        }
        if line.contains('\0') {
            return Err(format!("line {number} contains a NUL"));
        }
        pairs.push(line.to_owned());
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_FILES: [&str; 0] = [];

    #[test]
    fn files_are_read_as_docker_does() {
        let text = b"\xef\xbb\xbf# comment\n\nA=1\n  B= x # kept \nC\r\nD=\nE=a=b\n";
        assert_eq!(
            parse_lines(text).unwrap(),
            ["A=1", "B= x # kept ", "C", "D=", "E=a=b"]
        );
        for bad in [&b"=x"[..], b"A B=1", b"A\tB", b"\xff=1", b"A=\0"] {
            assert!(parse_lines(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_alone_is_the_hosts_or_removes() {
        let host = Environment::of(&[("TERM", "xterm")]);
        let given = ["A=1", "TERM", "NOPE", "B="].map(str::to_owned);
        let variables = variables(&given, &NO_FILES, &host).unwrap();
        assert_eq!(variables, ["A=1", "TERM=xterm", "NOPE", "B="]);
        for bad in ["", "=x", "A\0=1"] {
            assert!(super::variables(&[bad.to_owned()], &NO_FILES, &host).is_err());
        }
    }

    #[test]
    fn labels_may_be_empty_but_not_nameless() {
        let given = ["a=b=c", "d"].map(str::to_owned);
        let labels = labels(&given, &NO_FILES).unwrap();
        assert_eq!((labels["a"].as_str(), labels["d"].as_str()), ("b=c", ""));
        assert!(super::labels(&["=x".to_owned()], &NO_FILES).is_err());
    }
}
