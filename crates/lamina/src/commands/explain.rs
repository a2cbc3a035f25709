//! `explain`: what each instruction of an image cost, what is wasted, and what to write instead.

mod difference;

use lamina_image::{Amount, Explanation, Image, StepCost, Waste};
use lamina_types::quantity::human_size;
use serde_json::{Value, json};

use crate::app::App;
use crate::args::ExplainArgs;
use crate::cli::Verb;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::hints::{About, with_hints};
use crate::ui;

/// How many files of a finding are shown, and of a step.
const TOP: [u16; 2] = [3, 10];
/// How much of an instruction is shown.
const INSTRUCTION: usize = 60;
/// What builders write before an instruction.
const NOISE: [&str; 3] = ["/bin/sh -c #(nop) ", "/bin/sh -c ", "RUN /bin/sh -c "];

impl Verb for ExplainArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let engine = app.engine()?;
        let images = engine.images();
        let hinted = |failure: Failure| with_hints(failure, About::Image);
        let find = |name: &str| images.find(name).map_err(Failure::from).map_err(hinted);
        let image = find(&self.image)?;
        let (document, text) = match &self.diff {
            Some(other) => {
                let other = find(other)?;
                let difference = images.difference(&other, &image);
                let difference = difference.map_err(Failure::from).map_err(hinted)?;
                let top = usize::from(self.top.unwrap_or(TOP[1]));
                let told = difference::Told {
                    older: &other,
                    newer: &image,
                    difference: &difference,
                };
                (told.document(), told.shown(top))
            }
            None => {
                let top = usize::from(self.top.unwrap_or(TOP[0]));
                let explained = images.explain(&image, top);
                let explained = explained.map_err(Failure::from).map_err(hinted)?;
                (document(&image, &explained), shown(&image, &explained))
            }
        };
        match &*self.format {
            "json" => ui::out(&format!("{document}\n"))?,
            _ => ui::out(&ui::escape_lines(&text))?,
        }
        Ok(exit_codes::SUCCESS)
    }
}

fn shown(image: &Image, explained: &Explanation) -> String {
    let layers = image.diff_ids().len();
    let total = human_size(explained.total);
    let name = image.name.familiar();
    let mut text = format!("{name}: {total} in {layers} layers\n\n");
    let mut lines = vec!["STEP\tADDED\tCHANGED\tSAME\tDELETED\tWASTED\tINSTRUCTION".to_owned()];
    for (n, step) in explained.steps.iter().enumerate() {
        lines.push(line(n + 1, step));
    }
    text += &ui::align(&lines);
    for waste in &explained.findings {
        text += &finding(waste);
    }
    let efficiency = explained.efficiency();
    let hidden = human_size(explained.hidden);
    text + &format!(
        "\nefficiency {}.{}%: {total} shipped, {hidden} of it never seen\n",
        efficiency / 10,
        efficiency % 10
    )
}

fn line(number: usize, step: &StepCost) -> String {
    let instruction = instruction(&step.instruction);
    let cells = [
        number.to_string(),
        amount(step.added.bytes),
        amount(step.changed.bytes),
        amount(step.same.bytes),
        amount(step.deleted.bytes),
        amount(step.wasted),
        instruction,
    ];
    cells.join("\t")
}

/// Returns bytes as a cell of a table.
fn amount(bytes: u64) -> String {
    match bytes {
        0 => "-".to_owned(),
        bytes => human_size(bytes),
    }
}

/// Returns an instruction on one line, without what builders put around it.
fn instruction(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut text = words.join(" ");
    for noise in NOISE {
        if let Some(rest) = text.strip_prefix(noise) {
            text = rest.trim_start().to_owned();
            break;
        }
    }
    match text.char_indices().nth(INSTRUCTION) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

fn finding(waste: &Waste) -> String {
    let (class, bytes) = (waste.class.name(), human_size(waste.bytes));
    let files = match waste.files {
        1 => "1 file".to_owned(),
        files => format!("{files} files"),
    };
    let steps = match waste.hidden_by {
        Some(by) => format!("from step {}, hidden by step {by}", waste.made_by),
        None => format!("from step {}", waste.made_by),
    };
    let pooled = match waste.pooled {
        0 => "; a registry stores it twice, the pool once",
        _ => "",
    };
    let largest = waste.largest.iter();
    let largest: Vec<String> = largest
        .map(|(path, size)| format!("{path} ({})", human_size(*size)))
        .collect();
    format!(
        "\n{class}: {bytes} in {files}, {steps}{pooled}\n  {}\n  fix: {}\n",
        largest.join(", "),
        waste.fix
    )
}

fn document(image: &Image, explained: &Explanation) -> Value {
    let amount = |amount: &Amount| json!({ "Files": amount.files, "Bytes": amount.bytes });
    let steps = explained.steps.iter().map(|step| {
        json!({
            "Instruction": step.instruction,
            "Layer": step.layer,
            "Added": amount(&step.added),
            "Changed": amount(&step.changed),
            "Same": amount(&step.same),
            "Deleted": amount(&step.deleted),
            "WastedBytes": step.wasted,
        })
    });
    let findings = explained.findings.iter().map(|waste| {
        let largest = waste.largest.iter();
        let largest = largest.map(|(path, size)| json!({ "Path": path, "Bytes": size }));
        json!({
            "Class": waste.class.name(),
            "Bytes": waste.bytes,
            "PooledBytes": waste.pooled,
            "Files": waste.files,
            "Largest": largest.collect::<Vec<_>>(),
            "MadeBy": waste.made_by,
            "HiddenBy": waste.hidden_by,
            "Fix": waste.fix,
        })
    });
    json!({
        "Image": image.name.familiar(),
        "Id": image.id,
        "TotalBytes": explained.total,
        "HiddenBytes": explained.hidden,
        "EfficiencyPerMille": explained.efficiency(),
        "Steps": steps.collect::<Vec<_>>(),
        "Findings": findings.collect::<Vec<_>>(),
    })
}
