//! `--format table|json|TEMPLATE` of the lists.

use serde_json::{Map, Value};

use super::{escape, escape_lines, table};
use crate::template::{Template, TemplateError};

/// A field of a list: its name in templates and the header of its column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// The name in templates.
    pub(crate) field: &'static str,
    /// The header.
    pub(crate) header: &'static str,
}

/// How a list is shown.
#[derive(Debug)]
pub(crate) enum Format {
    /// A table of these columns, with headers.
    Table(Template),
    /// One JSON object per line.
    Json,
    /// The template, once per row.
    Template(Template),
}

/// Why a format cannot be used.
pub(crate) type FormatError = TemplateError;

impl Format {
    /// Reads `--format`; `columns` is the table that `table`, or nothing, means.
    pub(crate) fn parse(text: Option<&str>, columns: &[&str]) -> Result<Self, FormatError> {
        let table = |row: String| -> Result<Self, FormatError> {
            Ok(Self::Table(Template::parse_row(&row)?))
        };
        match text.map(str::trim) {
            None | Some("" | "table") => {
                let cells: Vec<String> = columns
                    .iter()
                    .map(|field| format!("{{{{.{field}}}}}"))
                    .collect();
                table(cells.join("\t"))
            }
            Some("json") => Ok(Self::Json),
            Some(text) => match text.strip_prefix("table") {
                Some(row) if row.starts_with([' ', '\t', '\\']) => {
                    table(row.trim_start().to_owned())
                }
                _ => Ok(Self::Template(Template::parse_row(text)?)),
            },
        }
    }

    /// Shows rows; fields that begin with a small letter are for templates only and not shown as
    /// JSON.
    pub(crate) fn render(
        &self,
        columns: &[Column],
        rows: &[Map<String, Value>],
    ) -> Result<String, FormatError> {
        match self {
            Self::Json => {
                let shown = |row: &Map<String, Value>| {
                    let plain = row.iter().filter(|(_, value)| !value.is_object());
                    Value::Object(plain.map(|(k, v)| (k.clone(), v.clone())).collect()).to_string()
                };
                Ok(rows.iter().map(|row| shown(row) + "\n").collect())
            }
            Self::Template(template) => {
                let mut text = String::new();
                for row in rows {
                    text += &escape_lines(&template.render(&Value::Object(row.clone()))?);
                    text.push('\n');
                }
                Ok(text)
            }
            Self::Table(template) => {
                let header: Map<String, Value> = columns
                    .iter()
                    .map(|column| (column.field.to_owned(), column.header.into()))
                    .collect();
                let mut lines = vec![header_line(template, header, rows)?];
                for row in rows {
                    lines.push(template.render(&Value::Object(escaped(row)))?);
                }
                Ok(table::align(&lines))
            }
        }
    }
}

/// The header is the same template over the names of the columns, as Docker does it.
fn header_line(
    template: &Template,
    mut header: Map<String, Value>,
    rows: &[Map<String, Value>],
) -> Result<String, FormatError> {
    // A field without a column is headed by its own name.
    for (key, value) in rows.iter().flatten() {
        if !value.is_object() && !header.contains_key(key) {
            header.insert(key.clone(), key.to_uppercase().into());
        }
    }
    // A label is headed by its own name, as in Docker: by what stands after the last dot.
    let labels = rows.iter().filter_map(|row| row.get("Label")?.as_object());
    let names = labels.flat_map(Map::keys);
    let names = names.map(|name| {
        let shown = name.rsplit('.').next().unwrap_or(name);
        (name.clone(), shown.replace(['-', '_'], " ").into())
    });
    let names: Map<String, Value> = names.collect();
    header.insert("Label".to_owned(), Value::Object(names));
    template.render(&Value::Object(header))
}

fn escaped(row: &Map<String, Value>) -> Map<String, Value> {
    let clean = |value: &Value| match value {
        Value::String(text) => escape(text).into_owned().into(),
        other => other.clone(),
    };
    row.iter()
        .map(|(key, value)| (key.clone(), clean(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 2] = [
        Column {
            field: "ID",
            header: "CONTAINER ID",
        },
        Column {
            field: "Names",
            header: "NAMES",
        },
    ];

    fn show(format: Option<&str>) -> String {
        let rows = [Map::from_iter([
            ("ID".to_owned(), "abc".into()),
            ("Names".to_owned(), "web\u{1b}[2J".into()),
            ("Label".to_owned(), serde_json::json!({"a": "b"})),
        ])];
        Format::parse(format, &["ID", "Names"])
            .unwrap()
            .render(&COLUMNS, &rows)
            .unwrap()
    }

    #[test]
    fn every_form() {
        assert_eq!(
            show(None),
            "CONTAINER ID   NAMES\nabc            web\\u{1b}[2J\n"
        );
        assert_eq!(show(Some("table {{.Names}}")), "NAMES\nweb\\u{1b}[2J\n");
        assert_eq!(show(Some("{{.ID}} {{.Label \"a\"}}")), "abc b\n");
        assert_eq!(
            show(Some("json")),
            "{\"ID\":\"abc\",\"Names\":\"web\\u001b[2J\"}\n"
        );
    }

    #[test]
    fn an_empty_table_has_its_header() {
        let text = Format::parse(None, &["ID", "Names"])
            .unwrap()
            .render(&COLUMNS, &[])
            .unwrap();
        assert_eq!(text, "CONTAINER ID   NAMES\n");
    }
}
