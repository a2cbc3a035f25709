//! The terminal: data goes to stdout, everything else to stderr, and nothing else in the product
//! writes to either.

mod escape;
mod explain;
mod format;
mod progress;
mod prompt;
mod streams;
mod table;
mod time;

pub(crate) use escape::{escape, escape_lines};
pub(crate) use explain::ExplainPrinter;
pub(crate) use format::{Column, Format, FormatError};
pub(crate) use progress::Progress;
pub(crate) use prompt::{prompt, prompt_secret};
pub(crate) use streams::{
    err, err_is_terminal, in_is_terminal, out, out_bytes, out_is_terminal, streams,
};

pub(crate) use table::align;
pub(crate) use time::{ago, parse_moment};
