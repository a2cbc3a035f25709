//! The subset of Go's `text/template` that `--format` is used with.
//!
//! Fields (`{{.State.Pid}}`), pipelines, variables, `if`/`else if`/`else`, `range`, `with`,
//! comparison, Go's functions (`index`, `slice`, `printf`, …) and Docker's (`json`, `join`, `upper`,
//! `lower`, `title`, `split`, `truncate`, `pad`) over a JSON document. A call of a map with an argument looks the argument
//! up, which is what Docker's `{{.Label "x"}}` means. A missing field is an error and not
//! `<no value>`: a misspelled field should not look like an empty one.

mod escape;
mod eval;
mod functions;
mod lex;
mod parse;
mod printf;

use serde_json::Value;

use parse::Node;

/// How deep pipelines and blocks may nest; bounds recursion on hostile input.
const DEPTH_MAX: usize = 64;
/// The most bytes one rendering may produce.
const OUTPUT_MAX: usize = 16 << 20;

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// It does not follow the grammar.
    #[error("template parsing error: {0}")]
    Syntax(String),
    /// It cannot be evaluated over this document.
    #[error("template: {0}")]
    Eval(String),
}

/// A parsed template.
#[derive(Debug)]
pub(crate) struct Template {
    nodes: Vec<Node>,
}

impl Template {
    /// Parses a template.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let nodes = parse::parse(lex::lex(text)?)?;
        Ok(Self { nodes })
    }

    /// Parses a template of lists, as Docker does it: `\t` and `\n` typed as two characters are a
    /// tab and a newline.
    pub(crate) fn parse_row(text: &str) -> Result<Self, TemplateError> {
        Self::parse(&text.replace("\\t", "\t").replace("\\n", "\n"))
    }

    /// Renders the template over a document.
    pub(crate) fn render(&self, document: &Value) -> Result<String, TemplateError> {
        let mut output = String::new();
        eval::Scope::new(document).nodes(&self.nodes, document, &mut output)?;
        Ok(output)
    }
}

#[cfg(test)]
mod tests;
