//! The regular expressions that `ps --filter name=` is used with: literal text, `^`, `$`, `.`,
//! `[…]`, `\`, each but the anchors with `*`, `+` or `?`, and alternatives with `|`.
//!
//! No groups and no counts: a name needs none.

/// More is no pattern of a name.
const LONGEST: usize = 256;

/// A pattern: any of its alternatives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Vec<Piece>>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Start,
    End,
    One(Set),
    /// So many at least, and at most one or without end.
    Many(Set, bool, bool),
}

/// Characters: in one of the ranges, or in none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Set {
    ranges: Vec<(char, char)>,
    is_in: bool,
}

impl Set {
    fn of(c: char) -> Self {
        Self {
            ranges: vec![(c, c)],
            is_in: true,
        }
    }

    fn any() -> Self {
        Self {
            ranges: Vec::new(),
            is_in: false,
        }
    }

    fn has(&self, c: char) -> bool {
        let found = self.ranges.iter().any(|(a, b)| (*a..=*b).contains(&c));
        found == self.is_in
    }
}

impl Pattern {
    /// Reads a pattern; `None` if it is malformed, or has what is not known here.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let mut chars = text.chars().peekable();
        let mut alternatives = vec![Vec::new()];
        while let Some(c) = chars.next() {
            let set = match c {
                '|' => {
                    alternatives.push(Vec::new());
                    continue;
                }
                '^' | '$' => {
                    let piece = if c == '^' { Piece::Start } else { Piece::End };
                    alternatives.last_mut()?.push(piece);
                    continue;
                }
                '.' => Set::any(),
                '[' => class(&mut chars)?,
                '\\' => Set::of(chars.next().filter(|c| !c.is_alphanumeric())?),
                '(' | ')' | '{' | '*' | '+' | '?' => return None,
                c => Set::of(c),
            };
            let piece = match chars.peek() {
                Some('*') => Piece::Many(set, false, true),
                Some('+') => Piece::Many(set, true, true),
                Some('?') => Piece::Many(set, false, false),
                _ => Piece::One(set),
            };
            if matches!(piece, Piece::Many(..)) {
                chars.next();
            }
            alternatives.last_mut()?.push(piece);
        }
        Some(Self(alternatives))
    }

    /// Returns whether the pattern is found in a text.
    pub(super) fn is_in(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let mut alternatives = self.0.iter();
        alternatives.any(|pieces| is_found(pieces, &text))
    }
}

/// Reads the rest of `[…]`.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Set> {
    let is_in = chars.next_if_eq(&'^').is_none();
    let mut ranges = Vec::new();
    loop {
        let first = match chars.next()? {
            ']' if !ranges.is_empty() => return Some(Set { ranges, is_in }),
            '\\' => chars.next()?,
            c => c,
        };
        let mut last = first;
        if chars.next_if_eq(&'-').is_some() {
            match chars.peek()? {
                // At the end it is itself.
                ']' => ranges.push(('-', '-')),
                _ => last = chars.next()?,
            }
        }
        if first > last {
            return None;
        }
        ranges.push((first, last));
    }
}

/// Walks over the text with all places in the pattern that may be reached, so that no pattern
/// takes long.
fn is_found(pieces: &[Piece], text: &[char]) -> bool {
    let mut places = vec![false; pieces.len() + 1];
    for at in 0..=text.len() {
        // It may begin anywhere.
        places[0] = true;
        for place in 0..pieces.len() {
            if !places[place] {
                continue;
            }
            places[place + 1] |= match &pieces[place] {
                Piece::Start => at == 0,
                Piece::End => at == text.len(),
                Piece::Many(_, needs_one, _) => !needs_one,
                Piece::One(_) => false,
            };
        }
        if places[pieces.len()] {
            return true;
        }
        let Some(c) = text.get(at) else {
            return false;
        };
        places = after(pieces, &places, *c);
    }
    false
}

/// Returns the places that a character leads to.
fn after(pieces: &[Piece], places: &[bool], c: char) -> Vec<bool> {
    let mut next = vec![false; places.len()];
    for (place, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::One(set) if places[place] && set.has(c) => next[place + 1] = true,
            Piece::Many(set, _, is_endless) if places[place] && set.has(c) => {
                next[place + 1] = true;
                next[place] |= is_endless;
            }
            _ => {}
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_as_go_finds_them() {
        for (pattern, text, expected) in [
            ("", "web", true),
            ("eb", "web", true),
            ("^web$", "web", true),
            ("^web$", "web2", false),
            ("^/web$", "/web", true),
            ("^eb", "web", false),
            ("b$", "web", true),
            ("w.b", "web", true),
            ("^w.*2$", "web-12", true),
            ("^w.*2$", "web-1", false),
            ("^we?b?$", "w", true),
            ("^we+b$", "weeeb", true),
            ("^we+b$", "wb", false),
            ("^web-[0-9]+$", "web-10", true),
            ("^web-[^0-9]$", "web-1", false),
            ("^web[_-]1$", "web-1", true),
            ("^(web)$", "web", false),
            ("a|^b", "web", false),
            ("a|b$", "web", true),
            (r"a\.b", "a.b", true),
            (r"a\.b", "axb", false),
            ("a*a*a*a*a*a*a*a*b$", &"a".repeat(200), false),
        ] {
            let found = Pattern::parse(pattern).is_some_and(|pattern| pattern.is_in(text));
            assert_eq!(found, expected, "{pattern} {text}");
        }
        for bad in ["n[", "*", "a{2}", "(a)", "[]", "[b-a]", r"\d", "\\"] {
            assert_eq!(Pattern::parse(bad), None, "{bad}");
        }
    }
}
