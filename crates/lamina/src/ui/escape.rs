//! Names from images, registries and labels are data, not commands to a terminal.

use std::borrow::Cow;
use std::fmt::Write;

/// Replaces control characters and those that reorder text by their escapes.
///
/// An image may be labelled with a sequence that rewrites the title, the screen or the clipboard
/// of whoever lists it.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    escape_but(text, &[])
}

/// The same, but newlines and tabs stay: for what the user's own template lays out.
pub(crate) fn escape_lines(text: &str) -> Cow<'_, str> {
    escape_but(text, &['\n', '\t'])
}

fn escape_but<'a>(text: &'a str, kept: &[char]) -> Cow<'a, str> {
    let hostile = |c: char| is_hostile(c) && !kept.contains(&c);
    if !text.contains(hostile) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if hostile(c) {
            let _ = write!(escaped, "{}", c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// Control characters (C0, DEL, C1), and the marks that turn the direction of text.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_as_a_command() {
        assert_eq!(escape("plain äöü"), "plain äöü");
        assert_eq!(escape("\u{1b}]0;x\u{7}"), "\\u{1b}]0;x\\u{7}");
        assert_eq!(escape("a\nb\u{9b}2J\u{202e}"), "a\\nb\\u{9b}2J\\u{202e}");
        assert_eq!(escape_lines("a\tb\n\r"), "a\tb\n\\r");
    }
}
