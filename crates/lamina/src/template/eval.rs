//! A tree over a document to text.

use serde_json::Value;

use super::functions::{self, fail, is_true, show};
use super::parse::{Node, Operand, Pipeline};
use super::{OUTPUT_MAX, TemplateError};

/// The variables that are set; `$` is the whole document.
pub(super) struct Scope<'a> {
    root: &'a Value,
    variables: Vec<(String, Value)>,
}

impl<'a> Scope<'a> {
    /// Returns the scope of a whole template.
    pub(super) fn new(root: &'a Value) -> Self {
        Self {
            root,
            variables: Vec::new(),
        }
    }

    /// Renders nodes with `dot` as the current document.
    pub(super) fn nodes(
        &mut self,
        nodes: &[Node],
        dot: &Value,
        output: &mut String,
    ) -> Result<(), TemplateError> {
        let visible = self.variables.len();
        for node in nodes {
            self.node(node, dot, output)?;
            if output.len() > OUTPUT_MAX {
                return Err(fail("the output is too long"));
            }
        }
        self.variables.truncate(visible);
        Ok(())
    }

    fn node(&mut self, node: &Node, dot: &Value, output: &mut String) -> Result<(), TemplateError> {
        match node {
            Node::Text(text) => output.push_str(text),
            Node::Print(pipeline) => output.push_str(&show(&self.value(pipeline, dot)?)),
            Node::Set(name, pipeline) => {
                let value = self.value(pipeline, dot)?;
                self.variables.push((name.clone(), value));
            }
            Node::If(branches) => {
                for (condition, body) in branches {
                    let holds = match condition {
                        Some(condition) => is_true(&self.value(condition, dot)?),
                        None => true,
                    };
                    if holds {
                        return self.nodes(body, dot, output);
                    }
                }
            }
            Node::With {
                variable,
                value,
                body,
                otherwise,
            } => {
                let value = self.value(value, dot)?;
                if !is_true(&value) {
                    return self.nodes(otherwise, dot, output);
                }
                let names = variable.iter().cloned();
                return self.bound(names.zip([value.clone()]), body, &value, output);
            }
            Node::Range {
                variables,
                over,
                body,
                otherwise,
            } => {
                let items = items(self.value(over, dot)?)?;
                if items.is_empty() {
                    return self.nodes(otherwise, dot, output);
                }
                for (index, item) in items {
                    // A single variable is the value, two are index and value.
                    let values = match variables.len() {
                        1 => vec![item.clone()],
                        _ => vec![index, item.clone()],
                    };
                    let bindings = variables.iter().cloned().zip(values);
                    self.bound(bindings, body, &item, output)?;
                }
            }
        }
        Ok(())
    }

    fn bound(
        &mut self,
        bindings: impl Iterator<Item = (String, Value)>,
        body: &[Node],
        dot: &Value,
        output: &mut String,
    ) -> Result<(), TemplateError> {
        let visible = self.variables.len();
        self.variables.extend(bindings);
        let result = self.nodes(body, dot, output);
        self.variables.truncate(visible);
        result
    }

    fn value(&self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let mut piped = None;
        for command in &pipeline.0 {
            piped = Some(self.command(command, piped, dot)?);
        }
        piped.ok_or_else(|| fail("missing value"))
    }

    fn command(
        &self,
        command: &[Operand],
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Value, TemplateError> {
        let (first, rest) = command.split_first().ok_or_else(|| fail("missing value"))?;
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(piped);
        if let Operand::Function(name) = first {
            return functions::call(name, &arguments);
        }
        let value = self.operand(first, dot)?;
        match &arguments[..] {
            [] => Ok(value),
            [key] if value.is_object() => {
                let key = key.as_str().ok_or_else(|| fail("a key must be a string"))?;
                Ok(value.get(key).cloned().unwrap_or_else(|| "".into()))
            }
            _ => Err(fail("can't give argument to non-function")),
        }
    }

    fn operand(&self, operand: &Operand, dot: &Value) -> Result<Value, TemplateError> {
        match operand {
            Operand::Field(path) => field(dot, path),
            Operand::Variable(name, path) if name.is_empty() => field(self.root, path),
            Operand::Variable(name, path) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                let (_, value) =
                    found.ok_or_else(|| fail(&format!("undefined variable \"${name}\"")))?;
                field(value, path)
            }
            Operand::Function(name) => functions::call(name, &[]),
            Operand::Text(text) => Ok(text.as_str().into()),
            Operand::Number(number) => Ok((*number).into()),
            Operand::Bool(flag) => Ok((*flag).into()),
            Operand::Nil => Ok(Value::Null),
            Operand::Group(pipeline, path) => field(&self.value(pipeline, dot)?, path),
        }
    }
}

fn field(value: &Value, path: &[String]) -> Result<Value, TemplateError> {
    let mut value = value;
    for name in path {
        value = match value {
            Value::Object(map) => map
                .get(name)
                .ok_or_else(|| fail(&format!("there is no field {name:?}")))?,
            Value::Null => return Err(fail(&format!("nil has no field {name:?}"))),
            _ => {
                return Err(fail(&format!(
                    "can't evaluate field {name} of a plain value"
                )));
            }
        };
    }
    Ok(value.clone())
}

fn items(value: Value) -> Result<Vec<(Value, Value)>, TemplateError> {
    match value {
        Value::Array(items) => Ok(items
            .into_iter()
            .enumerate()
            .map(|(at, item)| (at.into(), item))
            .collect()),
        Value::Object(map) => Ok(map
            .into_iter()
            .map(|(key, item)| (key.into(), item))
            .collect()),
        Value::Null => Ok(Vec::new()),
        other => Err(fail(&format!("range can't iterate over {}", show(&other)))),
    }
}
