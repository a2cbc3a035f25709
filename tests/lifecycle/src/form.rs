//! The form of a transcript: ids have no value, and a failure is a line of its own.

use lamina_guide_tests::console::Printed;

/// Returns the lines of a transcript: what was printed, and `[exit N]` where a command failed.
pub fn lines(printed: &Printed) -> Vec<String> {
    let mut lines: Vec<String> = printed.lines.iter().map(|line| without_ids(line)).collect();
    if printed.code != "0" {
        lines.push(format!("[exit {}]", printed.code));
    }
    lines
}

/// Replaces words of 12 or 64 hexadecimal digits.
fn without_ids(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let (before, from) = rest.split_at(at);
        let end = from
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        shown.push_str(before);
        shown.push_str(if is_id(word) { "ID" } else { word });
        rest = after;
    }
    shown + rest
}

fn is_id(word: &str) -> bool {
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    matches!(word.len(), 12 | 64) && word.bytes().all(hexadecimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_codes_have_their_form() {
        let printed = Printed {
            lines: vec!["sha256:0123456789ab, 0123456789ag (0123456789abc)".to_owned()],
            code: "3".to_owned(),
        };
        let expected = ["sha256:ID, 0123456789ag (0123456789abc)", "[exit 3]"];
        assert_eq!(lines(&printed), expected);
    }
}
