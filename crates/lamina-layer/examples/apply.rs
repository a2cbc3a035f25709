//! Applies a tar read from stdin to a fresh directory and says how long it took:
//! `apply DIRECTORY < layer.tar`. For measuring.
#![expect(clippy::print_stderr, reason = "a measuring tool talks to a person")]

use std::os::fd::AsFd;
use std::time::Instant;

use lamina_fs::Dir;
use lamina_layer::{Limits, apply};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os()
        .nth(1)
        .ok_or("usage: apply DIRECTORY < layer.tar")?;
    let target = Dir::create_all(path, 0o755)?;
    let start = Instant::now();
    let applied = apply(std::io::stdin().lock(), target.as_fd(), &Limits::default())?;
    eprintln!(
        "{} entries, {} MB, {} implied directories in {:.3} s",
        applied.entries,
        applied.bytes / 1_000_000,
        applied.implied.len(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}
