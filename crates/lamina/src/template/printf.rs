//! Go's `printf`: the verbs and flags that templates are written with.

use serde_json::Value;

use super::TemplateError;
use super::functions::{fail, show};

/// The widest field; bounds what a hostile format can make.
const WIDTH_MAX: usize = 1024;

/// `%-5s`, `%05d`, `%.2f` and the like.
#[derive(Debug, Default)]
struct Spec {
    left: bool,
    zeros: bool,
    sign: bool,
    width: usize,
    precision: Option<usize>,
}

/// Formats values: `%s %v %d %t %q %x %X %o %b %f %c %%`, with `-`, `0`, `+`, width and precision.
pub(super) fn printf(format: &str, values: &[Value]) -> Result<String, TemplateError> {
    let mut output = String::new();
    let mut values = values.iter();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        output.push_str(&rest[..at]);
        let (spec, after) = spec(&rest[at + 1..])?;
        let verb = after
            .chars()
            .next()
            .ok_or_else(|| fail("printf: no verb after %"))?;
        rest = &after[verb.len_utf8()..];
        if verb == '%' {
            output.push('%');
            continue;
        }
        let value = values
            .next()
            .ok_or_else(|| fail("printf: too few arguments"))?;
        output.push_str(&padded(&spec, &converted(verb, value, &spec)?, value));
    }
    output.push_str(rest);
    match values.next() {
        None => Ok(output),
        Some(_) => Err(fail("printf: too many arguments")),
    }
}

fn spec(text: &str) -> Result<(Spec, &str), TemplateError> {
    let mut spec = Spec::default();
    let mut rest = text;
    while let Some(flag @ ('-' | '0' | '+' | ' ' | '#')) = rest.chars().next() {
        match flag {
            '-' => spec.left = true,
            '0' => spec.zeros = true,
            '+' => spec.sign = true,
            _ => return Err(fail("printf: only the flags - 0 + are supported")),
        }
        rest = &rest[1..];
    }
    let (width, after) = digits(rest)?;
    spec.width = width.unwrap_or(0);
    rest = after;
    if let Some(after) = rest.strip_prefix('.') {
        let (precision, after) = digits(after)?;
        spec.precision = Some(precision.unwrap_or(0));
        rest = after;
    }
    Ok((spec, rest))
}

fn digits(text: &str) -> Result<(Option<usize>, &str), TemplateError> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return Ok((None, rest));
    }
    let number = digits.parse().ok().filter(|number| *number <= WIDTH_MAX);
    let number = number.ok_or_else(|| fail("printf: too wide"))?;
    Ok((Some(number), rest))
}

fn converted(verb: char, value: &Value, spec: &Spec) -> Result<String, TemplateError> {
    let integer = || {
        value
            .as_i64()
            .ok_or_else(|| fail(&format!("printf: %{verb} of what is no whole number")))
    };
    let text = match (verb, value) {
        ('x', Value::String(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ('X', Value::String(text)) => text.bytes().map(|byte| format!("{byte:02X}")).collect(),
        ('x', _) => format!("{:x}", integer()?),
        ('X', _) => format!("{:X}", integer()?),
        ('o', _) => format!("{:o}", integer()?),
        ('b', _) => format!("{:b}", integer()?),
        ('c', _) => u32::try_from(integer()?)
            .ok()
            .and_then(char::from_u32)
            .unwrap_or(char::REPLACEMENT_CHARACTER)
            .into(),
        ('f', Value::Number(number)) => {
            let precision = spec.precision.unwrap_or(6);
            format!("{:.precision$}", number.as_f64().unwrap_or_default())
        }
        ('q', _) => Value::from(show(value)).to_string(),
        ('s' | 'v' | 'd' | 't', Value::String(text)) => match spec.precision {
            Some(most) => text.chars().take(most).collect(),
            None => text.clone(),
        },
        ('s' | 'v' | 'd' | 't', _) => show(value),
        _ => {
            return Err(fail(
                "printf: only %s %v %d %t %q %x %X %o %b %c %f %% are supported",
            ));
        }
    };
    match spec.sign && value.is_number() && !text.starts_with('-') {
        true => Ok(format!("+{text}")),
        false => Ok(text),
    }
}

fn padded(spec: &Spec, text: &str, value: &Value) -> String {
    let lacking = spec.width.saturating_sub(text.chars().count());
    match (spec.left, spec.zeros && value.is_number()) {
        (true, _) => format!("{text}{}", " ".repeat(lacking)),
        (false, true) => {
            let (sign, digits) = match text.strip_prefix(['-', '+']) {
                Some(digits) => text.split_at(text.len() - digits.len()),
                None => ("", text),
            };
            format!("{sign}{}{digits}", "0".repeat(lacking))
        }
        (false, false) => format!("{}{text}", " ".repeat(lacking)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn formats_as_go_does() {
        let shown = |format: &str, values: &[Value]| printf(format, values).unwrap();
        assert_eq!(
            shown("%05d|%-4s|%4s|", &[json!(-42), json!("ab"), json!("cd")]),
            "-0042|ab  |  cd|"
        );
        assert_eq!(
            shown(
                "%x %X %o %b %c",
                &[json!(255), json!("Az"), json!(8), json!(5), json!(65)]
            ),
            "ff 417A 10 101 A"
        );
        assert_eq!(
            shown(
                "%.2f %+d %.3s %q 100%%",
                &[json!(1.5), json!(7), json!("abcdef"), json!("x")]
            ),
            "1.50 +7 abc \"x\" 100%"
        );
        for bad in ["%", "%d", "%9999d", "%5", "%k"] {
            assert!(printf(bad, &[]).is_err(), "{bad}");
        }
        assert!(printf("%s", &[json!("a"), json!("b")]).is_err());
    }
}
