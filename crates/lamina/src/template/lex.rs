//! Text and `{{actions}}` to tokens.

use super::TemplateError;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    /// Text outside of actions.
    Text(String),
    /// The tokens of one action.
    Action(Vec<Token>),
}

/// A token inside an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// `.a.b`, without the first dot; empty for `.` itself.
    Field(Vec<String>),
    /// `$x.a`, the name without the dollar, and the path.
    Variable(String, Vec<String>),
    /// A function's name or a keyword.
    Word(String),
    /// A string.
    Text(String),
    /// A number.
    Number(i64),
    /// `|`
    Pipe,
    /// `(`
    Open,
    /// `)`, and the path that follows it without a space: `(index .x 0).y`.
    Close(Vec<String>),
    /// `,`
    Comma,
    /// `:=` or `=`
    Assign,
}

/// Splits a template.
pub(super) fn lex(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim = false;
    loop {
        let Some(start) = rest.find("{{") else {
            push_text(&mut pieces, rest, trim, false);
            return Ok(pieces);
        };
        let inside = &rest[start + 2..];
        let trim_before = inside.starts_with("- ");
        push_text(&mut pieces, &rest[..start], trim, trim_before);
        let inside = inside
            .strip_prefix('-')
            .filter(|_| trim_before)
            .unwrap_or(inside);
        let (tokens, tail) = action(inside)?;
        let (tail, trim_after) = match tail.strip_prefix("-}}") {
            Some(tail) => (tail, true),
            None => (&tail[2..], false),
        };
        trim = trim_after;
        pieces.extend(tokens.map(Piece::Action));
        rest = tail;
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str, trim_start: bool, trim_end: bool) {
    let text = if trim_start { text.trim_start() } else { text };
    let text = if trim_end { text.trim_end() } else { text };
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// Reads tokens up to the closing braces, which stay at the head of what is returned; a comment
/// has none.
fn action(text: &str) -> Result<(Option<Vec<Token>>, &str), TemplateError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    if let Some(comment) = rest.trim_start().strip_prefix("/*") {
        let end = comment
            .find("*/")
            .ok_or_else(|| syntax("unclosed comment"))?;
        rest = comment[end + 2..].trim_start();
        if rest.starts_with("}}") || rest.starts_with("-}}") {
            return Ok((None, rest));
        }
        return Err(syntax("comment ends before closing delimiter"));
    }
    loop {
        rest = rest.trim_start();
        if rest.starts_with("}}") || rest.starts_with("-}}") {
            return Ok((Some(tokens), rest));
        }
        let Some(first) = rest.chars().next() else {
            return Err(syntax("unclosed action"));
        };
        let (token, tail) = token(first, rest)?;
        tokens.push(token);
        rest = tail;
    }
}

fn token(first: char, rest: &str) -> Result<(Token, &str), TemplateError> {
    let single = |token| Ok((token, &rest[first.len_utf8()..]));
    match first {
        '|' => single(Token::Pipe),
        '(' => single(Token::Open),
        ')' => {
            let (path, tail) = path(&rest[1..])?;
            Ok((Token::Close(path), tail))
        }
        ',' => single(Token::Comma),
        '=' => single(Token::Assign),
        ':' if rest.starts_with(":=") => Ok((Token::Assign, &rest[2..])),
        '"' => quoted(&rest[1..]),
        '`' => {
            let end = rest[1..]
                .find('`')
                .ok_or_else(|| syntax("unterminated raw string"))?;
            Ok((Token::Text(rest[1..=end].to_owned()), &rest[end + 2..]))
        }
        '.' => {
            let (path, tail) = path(rest)?;
            Ok((Token::Field(path), tail))
        }
        '$' => {
            let (name, tail) = word(&rest[1..]);
            let (path, tail) = path(tail)?;
            Ok((Token::Variable(name.to_owned(), path), tail))
        }
        '-' | '0'..='9' => {
            let end = rest[1..]
                .find(|c: char| !c.is_ascii_digit())
                .map_or(rest.len(), |at| at + 1);
            let number = rest[..end]
                .parse()
                .map_err(|_| syntax(&format!("bad number {:?}", &rest[..end])))?;
            Ok((Token::Number(number), &rest[end..]))
        }
        c if c.is_alphabetic() || c == '_' => {
            let (name, tail) = word(rest);
            Ok((Token::Word(name.to_owned()), tail))
        }
        c => Err(syntax(&format!("unexpected {c:?} in an action"))),
    }
}

/// Reads `.a.b`; a lone dot is the empty path.
fn path(text: &str) -> Result<(Vec<String>, &str), TemplateError> {
    let mut path = Vec::new();
    let mut rest = text;
    while let Some(tail) = rest.strip_prefix('.') {
        let (name, tail) = word(tail);
        if name.is_empty() {
            if path.is_empty() && !tail.starts_with('.') {
                return Ok((path, tail));
            }
            return Err(syntax("a field has no name"));
        }
        path.push(name.to_owned());
        rest = tail;
    }
    Ok((path, rest))
}

fn word(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    text.split_at(end)
}

/// Reads a string up to its closing quote, with Go's commonest escapes.
fn quoted(text: &str) -> Result<(Token, &str), TemplateError> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Text(value), &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, c @ ('"' | '\\'))) => value.push(c),
                _ => return Err(syntax("unknown escape in a string")),
            },
            c => value.push(c),
        }
    }
    Err(syntax("unterminated quoted string"))
}

pub(super) fn syntax(text: &str) -> TemplateError {
    TemplateError::Syntax(text.chars().take(160).collect())
}
