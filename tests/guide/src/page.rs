//! Reads the console blocks of a page, and compares printed lines with them.

/// The console blocks between two `##` headings.
#[derive(Debug)]
pub struct Section {
    /// The heading, as a test's name.
    pub title: String,
    /// The commands, in order.
    pub commands: Vec<Command>,
}

/// One command and what it prints.
#[derive(Debug)]
pub struct Command {
    /// The command; further lines follow a backslash.
    pub text: String,
    /// The lines it prints, with `…` for what differs from run to run.
    pub output: Vec<String>,
    /// Where it stands in the page, from 1.
    pub line: usize,
}

/// Returns the sections that have commands.
pub fn sections(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let (mut title, mut fresh, mut in_block) = (String::from("start"), true, false);
    for (number, line) in text.lines().enumerate() {
        if let Some(heading) = line.strip_prefix("## ") {
            (title, fresh) = (slug(heading), true);
        } else if line.starts_with("```") {
            in_block = !in_block && line == "```console";
        } else if in_block {
            if fresh {
                sections.push(Section {
                    title: title.clone(),
                    commands: Vec::new(),
                });
                fresh = false;
            }
            let commands = &mut sections
                .last_mut()
                .expect("a section was just pushed")
                .commands;
            push(commands, line, number + 1);
        }
    }
    sections
}

fn push(commands: &mut Vec<Command>, line: &str, number: usize) {
    match (line.strip_prefix("$ "), commands.last_mut()) {
        (Some(text), _) => {
            commands.push(Command {
                text: text.to_owned(),
                output: Vec::new(),
                line: number,
            });
        }
        (None, Some(command)) if command.output.is_empty() && command.text.ends_with('\\') => {
            command.text.push('\n');
            command.text.push_str(line);
        }
        (None, Some(command)) => command.output.push(line.to_owned()),
        (None, None) => {}
    }
}

fn slug(heading: &str) -> String {
    let words = heading
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_").to_ascii_lowercase()
}

/// Returns whether the printed lines are what the page says.
pub fn matches(expected: &[String], printed: &[String]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((line, rest)) if line.trim() == "…" => {
            (0..=printed.len()).any(|skip| matches(rest, &printed[skip..]))
        }
        Some((line, rest)) => match printed.split_first() {
            Some((first, others)) => line_matches(line, first) && matches(rest, others),
            None => false,
        },
    }
}

fn line_matches(expected: &str, printed: &str) -> bool {
    let (expected, printed) = (expected.trim_end(), printed.trim_end());
    let Some((head, tail)) = expected.split_once('…') else {
        return expected == printed;
    };
    let Some(rest) = printed.strip_prefix(head) else {
        return false;
    };
    rest.char_indices()
        .map(|(at, _)| at)
        .chain([rest.len()])
        .any(|at| line_matches(tail, &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn an_ellipsis_stands_for_text_or_lines() {
        assert!(matches(&lines("a…c\n…\nz"), &lines("abbc\nx\ny\nz")));
        assert!(matches(&lines("…"), &[]));
        assert!(!matches(&lines("a…c"), &lines("ab")));
        assert!(!matches(&lines("a"), &lines("a\nb")));
    }

    #[test]
    fn reads_commands_and_their_output() {
        let sections = sections("## 1. One!\n```console\n$ echo a \\\n  b\na b\n$ true\n```\n");
        assert_eq!(sections[0].title, "1_one");
        assert_eq!(sections[0].commands[0].text, "echo a \\\n  b");
        assert_eq!(sections[0].commands[0].output, ["a b"]);
        assert_eq!(sections[0].commands[1].line, 6);
    }
}
