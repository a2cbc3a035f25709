//! `bench life`: containers that stay: started in the background, entered, listed, by the thousand.

mod logs;
mod many;
mod memory;
mod short;

use anyhow::Result;

use super::engine::{self, Engine};
use super::scratch::Scratch;
use super::{floor, start};

/// What a container does that is to stay.
const STAY: [&str; 3] = ["busybox", "sleep", "100000"];

/// Where everything is, and what is there to be measured.
struct Field {
    floor: start::Contender<'static>,
    lamina: Engine,
    others: Vec<Engine>,
    /// Goes last, with everything in it.
    _scratch: Scratch,
}

/// What `bench life PART` can be asked for alone.
type Part = (&'static str, fn(&Field, usize) -> Result<String>);

const PARTS: [Part; 6] = [
    ("detached", short::detached),
    ("exec", short::exec),
    ("memory", memory::run),
    ("parallel", many::parallel),
    ("many", many::thousand),
    ("logs", logs::run),
];

/// Measures everything, or the one part that is named, and returns the section of the page.
pub(super) fn run(only: Option<&str>, rounds: usize) -> Result<String> {
    let mut text =
        "## Containers that stay: in the background, entered, listed, by the thousand\n\n\
         One static busybox that sleeps, no network, on a new ext4 with a journal. \
         `cargo xtask bench life` reproduces it.\n\n"
            .to_owned();
    for (name, part) in PARTS {
        if only.is_none_or(|only| only == name) {
            text += &part(&field()?, rounds)?;
        }
    }
    Ok(text)
}

fn field() -> Result<Field> {
    let scratch = Scratch::on_new_ext4("bench-life")?;
    let (program, tree) = floor::build(&scratch)?;
    let archive = scratch.join("busybox.tar");
    floor::pack(&tree, &archive)?;
    let work = scratch.folder("floor-work")?;
    Ok(Field {
        floor: floor::contender(program, tree, work),
        lamina: engine::lamina(&scratch, &archive)?,
        others: engine::others(&scratch, &archive)?,
        _scratch: scratch,
    })
}

impl Field {
    fn engines(&self) -> impl Iterator<Item = &Engine> {
        std::iter::once(&self.lamina).chain(&self.others)
    }
}
