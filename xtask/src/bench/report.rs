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

/// Writes the sections that were measured into the page, keeping the others as they stand.
pub(super) fn write(sections: &[String]) -> Result<()> {
    let path = shell::root().join("docs/reference/benchmarks.md");
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    let mut parts: Vec<String> = page.split("\n## ").map(str::to_owned).collect();
    for section in sections {
        let body = section.trim_start_matches("## ").trim_end().to_owned();
        let title = body
            .lines()
            .next()
            .unwrap_or_default()
            .split(':')
            .next()
            .unwrap_or_default();
        match parts
            .iter_mut()
            .skip(1)
            .find(|part| part.starts_with(title))
        {
            Some(part) => *part = format!("{body}\n"),
            None => parts.push(format!("{body}\n")),
        }
    }
    std::fs::write(path, parts.join("\n## "))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn takes_the_middle() {
        assert!((super::median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((super::median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }
}
