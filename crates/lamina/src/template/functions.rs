//! The functions of templates: Go's own and Docker's.

use std::cmp::Ordering;

use serde_json::Value;

use super::TemplateError;
use super::escape;
use super::printf::printf;

/// The names of all functions.
const NAMES: [&str; 26] = [
    "json", "upper", "lower", "title", "join", "split", "truncate", "pad", "len", "index", "slice",
    "print", "println", "printf", "html", "js", "urlquery", "not", "and", "or", "eq", "ne", "lt",
    "le", "gt", "ge",
];

/// Returns whether there is such a function.
pub(super) fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Calls a function.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, TemplateError> {
    match (name, arguments) {
        ("json", [value]) => Ok(value.to_string().into()),
        ("upper", [value]) => Ok(show(value).to_uppercase().into()),
        ("lower", [value]) => Ok(show(value).to_lowercase().into()),
        ("title", [value]) => Ok(title(&show(value)).into()),
        ("join", [Value::Null, _]) => Ok("".into()),
        ("join", [Value::Array(items), separator]) => {
            let items: Vec<String> = items.iter().map(show).collect();
            Ok(items.join(&show(separator)).into())
        }
        ("split", [text, separator]) => Ok(split(&show(text), &show(separator))),
        ("truncate", [text, length]) => {
            let length = number(length)?;
            Ok(show(text).chars().take(length).collect::<String>().into())
        }
        ("pad", [text, before, after]) => {
            let text = show(text);
            if text.is_empty() {
                return Ok("".into());
            }
            let [before, after] = [number(before)?.min(1024), number(after)?.min(1024)];
            Ok(format!("{}{text}{}", " ".repeat(before), " ".repeat(after)).into())
        }
        ("len", [value]) => length(value),
        ("index", [value, keys @ ..]) => index(value, keys),
        ("slice", [value, bounds @ ..]) => slice(value, bounds),
        ("print", values) => Ok(print(values).into()),
        ("println", values) => {
            let words: Vec<String> = values.iter().map(show).collect();
            Ok((words.join(" ") + "\n").into())
        }
        ("printf", [Value::String(format), values @ ..]) => printf(format, values).map(Into::into),
        ("html", values) => Ok(escape::html(&print(values)).into()),
        ("js", values) => Ok(escape::js(&print(values)).into()),
        ("urlquery", values) => Ok(escape::query(&print(values)).into()),
        ("not", [value]) => Ok((!is_true(value)).into()),
        ("and", [_, ..]) => Ok(first_or_last(arguments, false)),
        ("or", [_, ..]) => Ok(first_or_last(arguments, true)),
        ("eq", [first, others @ ..]) if !others.is_empty() => {
            Ok(others.iter().any(|other| other == first).into())
        }
        ("ne", [a, b]) => Ok((a != b).into()),
        ("lt", [a, b]) => Ok((order(a, b)? == Ordering::Less).into()),
        ("le", [a, b]) => Ok((order(a, b)? != Ordering::Greater).into()),
        ("gt", [a, b]) => Ok((order(a, b)? == Ordering::Greater).into()),
        ("ge", [a, b]) => Ok((order(a, b)? != Ordering::Less).into()),
        (
            "json" | "upper" | "lower" | "title" | "join" | "split" | "truncate" | "pad" | "len"
            | "index" | "slice" | "printf" | "not" | "and" | "or" | "eq" | "ne" | "lt" | "le"
            | "gt" | "ge",
            _,
        ) => Err(fail(&format!("wrong arguments for {name}"))),
        _ => Err(fail(&format!("function {name:?} not defined"))),
    }
}

/// Returns a value as Go prints it with `%v`.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(show).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let mut pairs: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}:{}", show(value)))
                .collect();
            pairs.sort();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

/// Returns whether Go takes a value for true: not empty and not zero.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

pub(super) fn fail(text: &str) -> TemplateError {
    TemplateError::Eval(text.chars().take(160).collect())
}

fn number(value: &Value) -> Result<usize, TemplateError> {
    value
        .as_u64()
        .and_then(|n| usize::try_from(n).ok())
        .ok_or_else(|| fail("expected a number that is not negative"))
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .flat_map(|c| {
            let upper = start;
            start = !c.is_alphanumeric();
            if upper {
                c.to_uppercase().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect()
}

fn split(text: &str, separator: &str) -> Value {
    if separator.is_empty() {
        return text.chars().map(|c| Value::from(c.to_string())).collect();
    }
    text.split(separator).map(Value::from).collect()
}

fn length(value: &Value) -> Result<Value, TemplateError> {
    match value {
        Value::String(text) => Ok(text.len().into()),
        Value::Array(items) => Ok(items.len().into()),
        Value::Object(map) => Ok(map.len().into()),
        Value::Null => Ok(0.into()),
        _ => Err(fail("len of a plain value")),
    }
}

/// `slice x 1 3` is `x[1:3]`; of a string its bytes, which must be whole characters.
fn slice(value: &Value, bounds: &[Value]) -> Result<Value, TemplateError> {
    let outside = || fail("slice: index out of range");
    let length = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        _ => return Err(fail("slice of neither text nor list")),
    };
    let (from, to) = match bounds {
        [] => (0, length),
        [from] => (number(from)?, length),
        [from, to] => (number(from)?, number(to)?),
        _ => return Err(fail("wrong arguments for slice")),
    };
    match value {
        Value::String(text) => text.get(from..to).map(Value::from).ok_or_else(outside),
        Value::Array(items) => {
            let part = items.get(from..to).ok_or_else(outside)?;
            Ok(Value::Array(part.to_vec()))
        }
        _ => Err(outside()),
    }
}

/// Go's `print`: a space between two values where neither is text.
fn print(values: &[Value]) -> String {
    let mut text = String::new();
    for (at, value) in values.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| values.get(before));
        if before.is_some_and(|before| !before.is_string() && !value.is_string()) {
            text.push(' ');
        }
        text.push_str(&show(value));
    }
    text
}

fn index(value: &Value, keys: &[Value]) -> Result<Value, TemplateError> {
    let mut value = value;
    for key in keys {
        value = match (value, key) {
            // Go gives the zero value for a key that a map does not have.
            (Value::Object(map), Value::String(key)) => match map.get(key) {
                Some(value) => value,
                None => return Ok("".into()),
            },
            (Value::Array(items), key) => items
                .get(number(key)?)
                .ok_or_else(|| fail(&format!("index out of range: {}", show(key))))?,
            (Value::Null, _) => return Err(fail("index of nil")),
            _ => return Err(fail("can't index a plain value")),
        };
    }
    Ok(value.clone())
}

/// Go's `and` and `or` return the argument that decides.
fn first_or_last(arguments: &[Value], wanted: bool) -> Value {
    let decisive = arguments.iter().find(|value| is_true(value) == wanted);
    decisive
        .or(arguments.last())
        .cloned()
        .unwrap_or(Value::Null)
}

fn order(a: &Value, b: &Value) -> Result<Ordering, TemplateError> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => a
            .as_f64()
            .partial_cmp(&b.as_f64())
            .ok_or_else(|| fail("incomparable numbers")),
        _ => Err(fail("incompatible types for comparison")),
    }
}
