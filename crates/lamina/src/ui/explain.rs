//! `--explain`: every step as it happens, and a table of times at the end.
//!
//! All processes of a start write their steps as JSON lines into one pipe; a thread of the
//! command line reads and prints them. Nothing of this exists in a run without `--explain`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::Instant;

use lamina_sys::signals::SignalSet;
use lamina_types::explain::{Explainer, Step};

use super::{escape, streams};
use crate::args::ExplainFormat;

/// The longest line that is looked at; steps are shorter than `PIPE_BUF`.
const LINE_MAX: u64 = 64 * 1024;
/// The line that ends the stream; processes that outlive the command keep the pipe open.
const END: &[u8] = b"\"end\"\n";

/// Prints steps until it is finished.
#[derive(Debug)]
pub(crate) struct ExplainPrinter {
    pipe: OwnedFd,
    thread: JoinHandle<Vec<Step>>,
    format: ExplainFormat,
    begun: Instant,
}

impl ExplainPrinter {
    /// Makes the pipe and begins to print.
    pub(crate) fn start(format: ExplainFormat) -> io::Result<Self> {
        let (reader, pipe) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let thread = std::thread::Builder::new()
            .name("explain".to_owned())
            .spawn(move || print_steps(File::from(reader), format))?;
        Ok(Self {
            pipe,
            thread,
            format,
            begun: Instant::now(),
        })
    }

    /// Returns the explainer of this process.
    pub(crate) fn explainer(&self) -> io::Result<Explainer> {
        let mut pipe = File::from(self.pipe.try_clone()?);
        Ok(Explainer::to("lamina", move |step| {
            if let Ok(mut line) = serde_json::to_vec(&step) {
                line.push(b'\n');
                // The reader is a thread of ours; it is gone only when the process is ending.
                let _ = pipe.write_all(&line);
            }
        }))
    }

    /// Returns the end of the pipe that the monitor and init inherit.
    pub(crate) fn pipe(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Waits until all steps reported so far are printed, and prints the table of times.
    pub(crate) fn finish(self) {
        let total = self.begun.elapsed();
        let _ = File::from(self.pipe).write_all(END);
        let Ok(steps) = self.thread.join() else {
            return;
        };
        if self.format == ExplainFormat::Text {
            let total = u64::try_from(total.as_nanos()).unwrap_or(u64::MAX);
            streams::err(&table(&steps, total));
        }
    }
}

fn print_steps(reader: File, format: ExplainFormat) -> Vec<Step> {
    // Signals are for the thread that relays them to the program.
    let _ = lamina_sys::signals::block(&SignalSet::all());
    let mut reader = BufReader::new(reader);
    let mut steps = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line);
        if !matches!(read, Ok(n) if n > 0) || line == END {
            return steps;
        }
        // A line that is no step comes from a process that died while it wrote.
        let Ok(step) = serde_json::from_slice::<Step>(&line) else {
            continue;
        };
        match format {
            ExplainFormat::Text => streams::err(&sentence(&step)),
            ExplainFormat::Json => streams::err(&String::from_utf8_lossy(&line)),
        }
        steps.push(step);
    }
}

/// One step as lines for people.
fn sentence(step: &Step) -> String {
    let head = format!(
        "{:<8} {:<52} {:>9}\n",
        escape(&step.process),
        escape(&step.what),
        millis(step.took_ns)
    );
    let mut text = head;
    if !step.why.is_empty() {
        text += &format!("         {}\n", escape(&step.why));
    }
    for command in step.command.lines() {
        text += &format!("         $ {}\n", escape(command));
    }
    text
}

/// The table of times at the end.
fn table(steps: &[Step], total: u64) -> String {
    let mut text = String::from("\ntime       process  step\n");
    for step in steps {
        text += &format!(
            "{:>9}  {:<8} {}\n",
            millis(step.took_ns),
            escape(&step.process),
            escape(&step.what)
        );
    }
    text + &format!(
        "{:>9}  in all, with what the program itself took\n",
        millis(total)
    )
}

fn millis(nanos: u64) -> String {
    let micros = nanos / 1000;
    format!("{}.{:03} ms", micros / 1000, micros % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step() -> Step {
        Step {
            process: "init".into(),
            what: "mount /proc".into(),
            why: "ps reads it".into(),
            command: "mount -t proc proc /proc".to_owned(),
            took_ns: 1_234_567,
        }
    }

    #[test]
    fn a_step_is_told_in_three_lines() {
        let text = sentence(&step());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("init     mount /proc ") && lines[0].ends_with("1.234 ms"));
        assert_eq!(lines[1], "         ps reads it");
        assert_eq!(lines[2], "         $ mount -t proc proc /proc");
        assert!(
            table(&[step()], 5_000_000)
                .ends_with(" 5.000 ms  in all, with what the program itself took\n")
        );
    }

    #[test]
    fn steps_arrive_through_the_pipe_and_the_end_does_not_wait_for_others() {
        let printer = ExplainPrinter::start(ExplainFormat::Json).unwrap();
        let held_by_another = printer.pipe().try_clone_to_owned().unwrap();
        let mut explainer = printer.explainer().unwrap();
        explainer.step("x", "y", String::new, || ());
        let _ = File::from(printer.pipe.try_clone().unwrap()).write_all(END);
        assert_eq!(printer.thread.join().unwrap().len(), 1);
        drop(held_by_another);
    }
}
