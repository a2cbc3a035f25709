//! `explain --diff`: what changed from one image to another, step by step.

use std::cmp::Reverse;

use lamina_image::{Amount, ChangeClass, Difference, Image, PathChange, PathState};
use lamina_types::quantity::human_size;
use serde_json::{Map, Value, json};

use super::{amount, instruction};
use crate::ui;

/// A difference with its two images.
pub(super) struct Told<'a> {
    pub(super) older: &'a Image,
    pub(super) newer: &'a Image,
    pub(super) difference: &'a Difference,
}

impl Told<'_> {
    pub(super) fn shown(&self, top: usize) -> String {
        let mut text = self.head();
        let mut lines = vec!["STEP\tADDED\tCHANGED\tMETADATA\tTIME\tDELETED\tINSTRUCTION".into()];
        for (n, step) in self.difference.steps.iter().enumerate() {
            let cells = ChangeClass::ALL.map(|class| cell(step.amount(class)));
            let instruction = instruction(&step.instruction);
            lines.push(format!("{}\t{}\t{instruction}", n + 1, cells.join("\t")));
        }
        text += &ui::align(&lines);
        for n in 0..self.difference.steps.len() {
            text += &self.section(Some(n + 1), &format!("step {}", n + 1), top);
        }
        let title = format!("no step of {} has", self.newer.name.familiar());
        text += &self.section(None, &title, top);
        for change in &self.difference.settings {
            let (name, was, now) = (&change.name, &change.before, &change.after);
            text += &format!("\nsetting {name}: {was} → {now}\n");
        }
        text
    }

    fn head(&self) -> String {
        let Difference { before, after, .. } = *self.difference;
        let change = match after.cmp(&before) {
            std::cmp::Ordering::Less => format!("{} less", human_size(before - after)),
            std::cmp::Ordering::Equal => "as much".to_owned(),
            std::cmp::Ordering::Greater => format!("{} more", human_size(after - before)),
        };
        format!(
            "{} → {}: {} → {}, {change}; the first {} of {} and {} layers are the same\n\n",
            self.older.name.familiar(),
            self.newer.name.familiar(),
            human_size(before),
            human_size(after),
            self.difference.common,
            self.older.diff_ids().len(),
            self.newer.diff_ids().len(),
        )
    }

    /// The changes of one step, the largest first. Those of a time alone are only counted.
    fn section(&self, step: Option<usize>, title: &str, top: usize) -> String {
        let changes = self.difference.changes.iter();
        let of_step = changes.filter(|one| one.step == step && one.class != ChangeClass::Time);
        let mut told: Vec<&PathChange> = of_step.collect();
        if told.is_empty() {
            return String::new();
        }
        told.sort_by_key(|one| Reverse(one.bytes));
        let mut text = format!("\n{title}:\n");
        for change in told.iter().take(top) {
            text += &format!("  {}\n", line(change));
        }
        if told.len() > top {
            text += &format!("  … and {} more\n", told.len() - top);
        }
        text
    }

    pub(super) fn document(&self) -> Value {
        let amounts = |of: &dyn Fn(ChangeClass) -> Amount| {
            let cells = ChangeClass::ALL.into_iter().map(|class| {
                let Amount { files, bytes } = of(class);
                let name = class.name();
                let name = name[..1].to_uppercase() + &name[1..];
                (name, json!({ "Paths": files, "Bytes": bytes }))
            });
            cells.collect::<Map<String, Value>>()
        };
        let steps = self.difference.steps.iter().map(|step| {
            let mut row = amounts(&|class| step.amount(class));
            row.insert("Instruction".to_owned(), step.instruction.clone().into());
            row
        });
        let changes = self.difference.changes.iter().map(|change| {
            json!({
                "Class": change.class.name(),
                "Path": change.path,
                "Bytes": change.bytes,
                "Step": change.step,
                "Before": change.before.as_ref().map(state),
                "After": change.after.as_ref().map(state),
            })
        });
        let settings = self
            .difference
            .settings
            .iter()
            .map(|one| json!({ "Name": one.name, "Before": one.before, "After": one.after }));
        let absent = self.difference.absent;
        json!({
            "Image": self.newer.name.familiar(),
            "Id": self.newer.id,
            "Other": self.older.name.familiar(),
            "OtherId": self.older.id,
            "Bytes": self.difference.after,
            "OtherBytes": self.difference.before,
            "CommonLayers": self.difference.common,
            "Steps": steps.collect::<Vec<_>>(),
            "Absent": { "Paths": absent.files, "Bytes": absent.bytes },
            "Changes": changes.collect::<Vec<_>>(),
            "Settings": settings.collect::<Vec<_>>(),
        })
    }
}

/// The bytes of a cell; of what has none, how many.
fn cell(of: Amount) -> String {
    match of {
        Amount {
            files: 1..,
            bytes: 0,
        } => format!("({})", of.files),
        _ => amount(of.bytes),
    }
}

fn line(change: &PathChange) -> String {
    let path = &change.path;
    match (&change.before, &change.after) {
        (None, Some(now)) => format!("A {path}{}", sized(now)),
        (Some(was), None) => format!("D {path}{}", sized(was)),
        (Some(was), Some(now)) if change.class == ChangeClass::Metadata => {
            format!("M {path}{}{}", sized(now), rights(was, now))
        }
        (Some(was), Some(now)) if was.kind != now.kind => {
            format!("C {path} (a {}, was a {})", now.kind, was.kind)
        }
        (Some(was), Some(now)) if now.kind == "file" => {
            format!("C {path}{}, was {}", sized(now), human_size(was.size))
        }
        (Some(_), Some(now)) => format!("C {path}{}", sized(now)),
        (None, None) => String::new(),
    }
}

fn sized(state: &PathState) -> String {
    match state.kind {
        "file" => format!(" ({})", human_size(state.size)),
        kind => format!(" ({kind})"),
    }
}

fn rights(was: &PathState, now: &PathState) -> String {
    let mut text = String::new();
    if was.owner != now.owner {
        let shown = |(user, group): (u32, u32)| format!("{user}:{group}");
        text += &format!(" owner {} → {}", shown(was.owner), shown(now.owner));
    }
    if was.mode != now.mode {
        text += &format!(" mode {:04o} → {:04o}", was.mode, now.mode);
    }
    match text.is_empty() {
        true => " extended attributes".to_owned(),
        false => text,
    }
}

fn state(state: &PathState) -> Value {
    json!({
        "Kind": state.kind,
        "Bytes": state.size,
        "Mode": format!("{:04o}", state.mode),
        "Owner": format!("{}:{}", state.owner.0, state.owner.1),
    })
}
