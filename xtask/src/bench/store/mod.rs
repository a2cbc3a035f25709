//! `bench store`: what the store's design promises, each bar with its figure.

mod archive;
mod disk;
mod modes;
mod related;
mod unpack;

use anyhow::Result;

/// What `bench store PART` can be asked for alone.
type Part = (&'static str, fn(usize) -> Result<String>);

const PARTS: [Part; 3] = [
    ("modes", modes::run),
    ("unpack", unpack::run),
    ("disk", disk::run),
];

/// Measures everything, or the one part that is named, and returns the section of the page.
pub(super) fn run(only: Option<&str>, rounds: usize) -> Result<String> {
    let mut text = "## The store: sizes, look-ups and times against its own bars\n\n\
         `cargo xtask bench store` reproduces it.\n\n"
        .to_owned();
    let wanted = |name| only.is_none_or(|only| only == name);
    for (name, part) in PARTS {
        if wanted(name) {
            text += &part(rounds)?;
        }
    }
    Ok(text)
}
