//! Tokens to a tree.

use super::functions::is_known;
use super::lex::{Piece, Token, syntax};
use super::{DEPTH_MAX, TemplateError};

/// A part of a template.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// Text as it stands.
    Text(String),
    /// A value that is printed.
    Print(Pipeline),
    /// A variable that is set.
    Set(String, Pipeline),
    /// `if` with its branches; the condition of `else` is `None`.
    If(Vec<(Option<Pipeline>, Vec<Node>)>),
    /// `range`, its variables (index, value), the body and what stands for an empty list.
    Range {
        variables: Vec<String>,
        over: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    /// `with`, its variable, the body and what stands for an empty value.
    With {
        variable: Option<String>,
        value: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

/// Commands, each taking the value of the one before as its last argument.
#[derive(Debug, Clone)]
pub(super) struct Pipeline(pub(super) Vec<Vec<Operand>>);

/// A word of a command.
#[derive(Debug, Clone)]
pub(super) enum Operand {
    /// A field of the current document.
    Field(Vec<String>),
    /// A variable, or a field of it.
    Variable(String, Vec<String>),
    /// A function.
    Function(String),
    /// A string.
    Text(String),
    /// A number.
    Number(i64),
    /// A boolean.
    Bool(bool),
    /// Nothing.
    Nil,
    /// A pipeline in parentheses, or a field of its value.
    Group(Pipeline, Vec<String>),
}

/// Parses the pieces of a template.
pub(super) fn parse(pieces: Vec<Piece>) -> Result<Vec<Node>, TemplateError> {
    let mut pieces = pieces.into_iter();
    let (nodes, end) = block(&mut pieces, 0)?;
    match end {
        None => Ok(nodes),
        Some(_) => Err(syntax("unexpected {{end}} or {{else}}")),
    }
}

/// What ended a block: `end`, or `else` with the rest of its action.
enum End {
    End,
    Else(Vec<Token>),
}

type Pieces = std::vec::IntoIter<Piece>;

fn block(pieces: &mut Pieces, depth: usize) -> Result<(Vec<Node>, Option<End>), TemplateError> {
    if depth > DEPTH_MAX {
        return Err(syntax("blocks are nested too deeply"));
    }
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let tokens = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(tokens) => tokens,
        };
        let keyword = match tokens.first() {
            Some(Token::Word(word)) => word.as_str(),
            _ => "",
        };
        match keyword {
            "end" => return Ok((nodes, Some(End::End))),
            "else" => return Ok((nodes, Some(End::Else(tokens[1..].to_vec())))),
            "if" => nodes.push(if_block(pieces, &tokens[1..], depth)?),
            "range" | "with" => {
                let ranges = keyword == "range";
                nodes.push(value_block(pieces, &tokens[1..], ranges, depth)?);
            }
            "define" | "template" | "block" | "break" | "continue" => {
                return Err(syntax(&format!("{keyword} is not supported")));
            }
            _ => nodes.push(statement(&tokens)?),
        }
    }
    Ok((nodes, None))
}

fn statement(tokens: &[Token]) -> Result<Node, TemplateError> {
    match tokens {
        [Token::Variable(name, path), Token::Assign, value @ ..] if path.is_empty() => {
            Ok(Node::Set(name.clone(), pipeline(value)?))
        }
        _ => Ok(Node::Print(pipeline(tokens)?)),
    }
}

fn if_block(pieces: &mut Pieces, tokens: &[Token], depth: usize) -> Result<Node, TemplateError> {
    let mut branches = Vec::new();
    let mut condition = Some(pipeline(tokens)?);
    loop {
        let (body, end) = block(pieces, depth + 1)?;
        let last = condition.is_none();
        branches.push((condition, body));
        match end {
            None => return Err(syntax("unexpected end of template in {{if}}")),
            Some(End::End) => return Ok(Node::If(branches)),
            Some(End::Else(_)) if last => return Err(syntax("unexpected {{else}}")),
            Some(End::Else(rest)) => {
                condition = match rest.split_first() {
                    None => None,
                    Some((Token::Word(word), rest)) if word == "if" => Some(pipeline(rest)?),
                    Some(_) => return Err(syntax("expected {{else}} or {{else if …}}")),
                };
            }
        }
    }
}

fn value_block(
    pieces: &mut Pieces,
    tokens: &[Token],
    ranges: bool,
    depth: usize,
) -> Result<Node, TemplateError> {
    let (mut variables, value) = match tokens {
        [
            Token::Variable(index, _),
            Token::Comma,
            Token::Variable(value, _),
            Token::Assign,
            rest @ ..,
        ] if ranges => (vec![index.clone(), value.clone()], rest),
        [Token::Variable(value, _), Token::Assign, rest @ ..] => (vec![value.clone()], rest),
        rest => (Vec::new(), rest),
    };
    let value = pipeline(value)?;
    let (body, end) = block(pieces, depth + 1)?;
    let otherwise = match end {
        Some(End::End) => Vec::new(),
        Some(End::Else(rest)) if rest.is_empty() => match block(pieces, depth + 1)? {
            (nodes, Some(End::End)) => nodes,
            _ => return Err(syntax("expected {{end}}")),
        },
        _ => {
            return Err(syntax(
                "unexpected end of template in {{range}} or {{with}}",
            ));
        }
    };
    Ok(if ranges {
        Node::Range {
            variables,
            over: value,
            body,
            otherwise,
        }
    } else {
        Node::With {
            variable: variables.pop(),
            value,
            body,
            otherwise,
        }
    })
}

fn pipeline(tokens: &[Token]) -> Result<Pipeline, TemplateError> {
    let mut position = 0;
    let pipeline = commands(tokens, &mut position, 0)?;
    if position < tokens.len() {
        return Err(syntax("unexpected ) in an action"));
    }
    Ok(pipeline)
}

fn commands(tokens: &[Token], at: &mut usize, depth: usize) -> Result<Pipeline, TemplateError> {
    if depth > DEPTH_MAX {
        return Err(syntax("parentheses are nested too deeply"));
    }
    let mut words = vec![Vec::new()];
    while let Some(token) = tokens.get(*at) {
        *at += 1;
        let operand = match token {
            Token::Pipe => {
                words.push(Vec::new());
                continue;
            }
            Token::Close(_) => {
                *at -= 1;
                break;
            }
            Token::Open => {
                let inner = commands(tokens, at, depth + 1)?;
                let Some(Token::Close(path)) = tokens.get(*at) else {
                    return Err(syntax("unclosed left paren"));
                };
                *at += 1;
                Operand::Group(inner, path.clone())
            }
            Token::Field(path) => Operand::Field(path.clone()),
            Token::Variable(name, path) => Operand::Variable(name.clone(), path.clone()),
            Token::Word(word) => match word.as_str() {
                "true" => Operand::Bool(true),
                "false" => Operand::Bool(false),
                "nil" => Operand::Nil,
                name if is_known(name) => Operand::Function(word.clone()),
                name => {
                    let name: String = name.chars().take(80).collect();
                    return Err(syntax(&format!("function {name:?} not defined")));
                }
            },
            Token::Text(text) => Operand::Text(text.clone()),
            Token::Number(number) => Operand::Number(*number),
            Token::Comma | Token::Assign => return Err(syntax("unexpected , or := in an action")),
        };
        if let Some(command) = words.last_mut() {
            command.push(operand);
        }
    }
    if words.iter().any(Vec::is_empty) {
        return Err(syntax("missing value for command"));
    }
    Ok(Pipeline(words))
}
