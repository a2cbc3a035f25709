//! What several commands show alike.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize as _;
use serde_json::Value;
use serde_json::ser::PrettyFormatter;

use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::template::Template;
use crate::ui::{self, FormatError};

/// Renders one document: `json`, or a template.
pub(crate) fn render_one(format: &str, document: &Value) -> Outcome<String> {
    if format == "json" {
        return Ok(format!("{document}\n"));
    }
    let text = template(format)?.render(document).map_err(bad_format)?;
    Ok(ui::escape_lines(&text).into_owned() + "\n")
}

/// Reads a template for one thing; one that is malformed has a status of its own.
pub(crate) fn template(format: &str) -> Outcome<Template> {
    Template::parse(format).map_err(|error| bad_format(error).exits(exit_codes::TEMPLATE))
}

/// Splits a `--filter`; one that is no pair is as wrong as a flag without its value.
pub(crate) fn filter_pair(text: &str) -> Outcome<(&str, &str)> {
    text.split_once('=').ok_or_else(|| {
        let text: String = text.chars().take(80).collect();
        Failure::usage(format!("invalid filter {text:?}: expected KEY=VALUE"))
    })
}

/// Shows documents as Docker does, indented by four spaces.
pub(crate) fn indented(documents: &[Value]) -> String {
    let mut bytes = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // Documents are made of what JSON has, and the buffer takes everything.
    let _ = documents.serialize(&mut serializer);
    String::from_utf8_lossy(&bytes).into_owned() + "\n"
}

/// Returns the failure of a `--format`.
pub(crate) fn bad_format(error: FormatError) -> Failure {
    Failure::new(error, lamina_types::ErrorKind::InvalidArgument)
        .hint("--format '{{json .}}' shows the fields there are")
}

/// Shows a moment as Docker's `CreatedAt`.
pub(crate) fn docker_time(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}

/// Shows labels on one line.
pub(crate) fn label_list(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}
