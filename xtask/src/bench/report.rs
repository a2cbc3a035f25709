//! The tables of the benchmark page.

use std::fmt::Write as _;

use anyhow::Result;

use crate::shell;

/// Contenders by name, with the milliseconds of each round.
pub(super) type Times = [(String, Vec<f64>)];

/// The section on starts.
pub(super) fn start(times: &Times, steps: &str, rounds: usize) -> String {
    let mut text = format!(
        "## Start and remove: `run --rm --network none IMAGE true`\n\n\
         A container of one static busybox, on a new ext4 with a journal; {rounds} rounds in turn, whole processes, each after 150 ms of quiet. \
         `cargo xtask bench start` reproduces it.\n\n{}",
        table(times, "floor", "× floor")
    );
    if !steps.is_empty() {
        let _ = write!(
            text,
            "\nWhere one explained start of lamina spends its time:\n\n```text\n{steps}\n```\n"
        );
    }
    text
}

/// The section on pulls.
pub(super) fn pull(times: &Times, rounds: usize) -> String {
    format!(
        "## Pull: a Debian with Python and a compiler, 632 MB, 217 MB compressed\n\n\
         From a registry on loopback into a new store on a new ext4 with a journal; {rounds} rounds in turn. \
         `cargo xtask bench pull` reproduces it.\n\n{}",
        table(times, "docker", "× docker")
    )
}

/// Returns a table of medians and their ratio to that of `base`.
pub(super) fn table(times: &Times, base: &str, unit: &str) -> String {
    let base = times
        .iter()
        .find(|(name, _)| name == base)
        .map(|(_, t)| median(t));
    let mut text = format!("| | median ms | min | max | {unit} |\n|---|---|---|---|---|\n");
    for (name, times) in times {
        let middle = median(times);
        let least = least(times);
        let most = times.iter().copied().fold(0.0, f64::max);
        let ratio = base.map_or_else(|| "–".to_owned(), |base| format!("{:.2}", middle / base));
        let _ = writeln!(
            text,
            "| {name} | {middle:.2} | {least:.2} | {most:.2} | {ratio} |"
        );
    }
    text
}

/// Returns the least: what it takes when nothing else runs.
pub(super) fn least(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Returns the median.
pub(super) fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// Writes what was measured into the page, keeping what was not as it stands.
pub(super) fn write(sections: &[String]) -> Result<()> {
    let path = shell::root().join("docs/reference/benchmarks.md");
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    std::fs::write(path, merged(&page, sections))?;
    Ok(())
}

fn merged(page: &str, sections: &[String]) -> String {
    let mut parts: Vec<String> = page.split("\n## ").map(str::to_owned).collect();
    for section in sections {
        let body = section.trim_start_matches("## ").trim_end();
        match parts.iter_mut().skip(1).find(|part| same(part, body)) {
            Some(part) => *part = merged_parts(part, body),
            None => parts.push(format!("{body}\n")),
        }
    }
    parts.join("\n## ")
}

/// Puts the parts of a section that were measured in the place of those of the same title.
fn merged_parts(old: &str, new: &str) -> String {
    let mut new = new.split("\n### ").map(|part| part.trim_end().to_owned());
    let mut parts: Vec<String> = old.split("\n### ").map(str::to_owned).collect();
    parts[0] = new.next().unwrap_or_default();
    for part in new {
        match parts.iter_mut().skip(1).find(|old| same(old, &part)) {
            Some(old) => *old = part,
            None => parts.push(part),
        }
    }
    let parts: Vec<&str> = parts.iter().map(|part| part.trim_end()).collect();
    parts.join("\n\n### ") + "\n"
}

/// Whether two texts have the same title: their first line up to a colon or a comma, because
/// behind that stand numbers and names.
fn same(one: &str, other: &str) -> bool {
    let title = |text: &str| -> String {
        let line = text.lines().next().unwrap_or_default();
        let words = line.split([':', ',']).next().unwrap_or_default();
        words.chars().filter(|c| !c.is_ascii_digit()).collect()
    };
    title(one) == title(other)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_was_not_measured_stays() {
        let page =
            "# Page\n\n## A: x\n\nold\n\n### P, 1\n\np\n\n### With 5 images\n\nq\n\n## B\n\nb\n";
        let new = "## A: y\n\nnew\n\n### With 50 images\n\nr\n\n".to_owned();
        let expected =
            "# Page\n\n## A: y\n\nnew\n\n### P, 1\n\np\n\n### With 50 images\n\nr\n\n## B\n\nb\n";
        assert_eq!(super::merged(page, &[new]), expected);
    }

    #[test]
    fn takes_the_middle() {
        assert!((super::median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((super::median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }
}
