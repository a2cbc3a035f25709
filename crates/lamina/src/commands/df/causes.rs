//! `df --causes`: what takes space that the data do not need, and what to do about it.

use std::path::Path;

use lamina_engine::{Cause, CauseKind};
use lamina_types::quantity::human_size;
use serde_json::{Value, json};

use crate::ui;

/// What is smaller is not worth a line for people.
const WORTH_A_LINE: u64 = 1 << 20;

pub(super) fn shown(causes: &[Cause]) -> String {
    let mut lines = vec!["CAUSE\tSIZE\tFILES\tWHERE\tWHAT TO DO".to_owned()];
    let (told, small): (Vec<&Cause>, Vec<&Cause>) =
        causes.iter().partition(|cause| cause.bytes >= WORTH_A_LINE);
    for cause in told {
        let (kind, size) = (cause.kind.name(), human_size(cause.bytes));
        let place = match &cause.largest {
            Some(path) => format!("{}:{path}", cause.of),
            None => cause.of.clone(),
        };
        lines.push(format!(
            "{kind}\t{size}\t{}\t{place}\t{}",
            cause.files,
            fix(cause)
        ));
    }
    let rest: u64 = small.iter().map(|cause| cause.bytes).sum();
    let mut text = ui::align(&lines);
    if !small.is_empty() {
        text += &format!("\n{} smaller causes: {}\n", small.len(), human_size(rest));
    }
    text
}

pub(super) fn document(causes: &[Cause]) -> Value {
    let causes = causes.iter().map(|cause| {
        json!({
            "Cause": cause.kind.name(),
            "Of": cause.of,
            "Bytes": cause.bytes,
            "Files": cause.files,
            "Largest": cause.largest,
            "Fix": fix(cause),
        })
    });
    Value::from(causes.collect::<Vec<_>>())
}

/// Returns what to do about it, where possible a command to type.
fn fix(cause: &Cause) -> String {
    let of = &cause.of;
    let folder = cause
        .largest
        .as_deref()
        .and_then(|path| Path::new(path).parent());
    let folder = folder.map_or_else(|| "/".into(), Path::to_string_lossy);
    match cause.kind {
        CauseKind::LayerBloat => format!("lamina explain {of}"),
        CauseKind::Output => format!("lamina logs {of}; a removed container's goes with it"),
        CauseKind::LogFile => format!("log to stdout, or run with -v NAME:{folder}"),
        CauseKind::CopiedUp => format!("change it in the image, or run with -v NAME:{folder}"),
        CauseKind::OutsideVolume => format!("run with -v NAME:{folder}, or lamina rm {of}"),
        CauseKind::UnusedVolume => "lamina prune --volumes removes anonymous ones".to_owned(),
        CauseKind::PartialPull => "pull again to go on, or lamina prune".to_owned(),
        CauseKind::Removed => "lamina undo, or lamina prune --now".to_owned(),
    }
}
