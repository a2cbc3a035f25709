//! Columns as Docker aligns them: three spaces between, at least ten wide, the last one ragged.

/// The space between columns.
const PADDING: usize = 3;
/// The least width of a column with its padding.
const MIN_WIDTH: usize = 10;

/// Aligns lines whose cells are separated by tabs.
pub(crate) fn align(lines: &[String]) -> String {
    let rows: Vec<Vec<&str>> = lines
        .iter()
        .map(|line| line.split('\t').collect())
        .collect();
    let mut widths: Vec<usize> = Vec::new();
    for row in &rows {
        // The last cell of a row is not followed by another, so it needs no width.
        for (at, cell) in row.iter().enumerate().take(row.len().saturating_sub(1)) {
            let width = (cell.chars().count() + PADDING).max(MIN_WIDTH);
            match widths.get_mut(at) {
                Some(known) => *known = width.max(*known),
                None => widths.push(width),
            }
        }
    }
    let mut text = String::new();
    for row in &rows {
        for (at, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if at + 1 < row.len() {
                let width = widths.get(at).copied().unwrap_or(MIN_WIDTH);
                let spaces = width.saturating_sub(cell.chars().count());
                text.extend(std::iter::repeat_n(' ', spaces));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::align;

    #[test]
    fn aligns_as_gos_tabwriter() {
        let lines = ["A\tLONG HEADER\tC", "a value\tx\ty"].map(str::to_owned);
        assert_eq!(
            align(&lines),
            "A         LONG HEADER   C\na value   x             y\n"
        );
    }
}
