//! What several commands show alike.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::template::Template;
use crate::ui::{self, FormatError};

/// Renders one document: `json`, or a template.
pub(crate) fn render_one(format: &str, document: &Value) -> Outcome<String> {
    if format == "json" {
        return Ok(format!("{document}\n"));
    }
    let text = Template::parse(format)
        .and_then(|template| template.render(document))
        .map_err(bad_format)?;
    Ok(ui::escape_lines(&text).into_owned() + "\n")
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
