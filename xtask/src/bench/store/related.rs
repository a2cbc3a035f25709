//! Ten related images, as one finds them on a machine that has run things for a while: three
//! Debian roots with different packages and a rebuilt one, an application on two of them and
//! built twice, a recursive chown, documentation moved to another place, a flattened image.
//!
//! Docker builds and pushes them once; the registry's data is kept below `target/bench`.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};

use crate::bench::image::{BASE, PACKAGES, Registry, root_tar};
use crate::bench::peers::Docker;
use crate::bench::scratch::Scratch;
use crate::shell;

/// The roots: what they are called, and the packages beyond debootstrap's minimum.
const ROOTS: [(&str, &str); 4] = [
    ("slim", ""),
    ("python", "python3"),
    (BASE, PACKAGES),
    // The root of `python`, made anew a little later.
    ("python-again", "python3,curl"),
];

/// An image that Docker builds of another one.
struct Built {
    name: &'static str,
    base: &'static str,
    steps: &'static [&'static str],
}

const COMPILE: &str = "RUN python3 -m compileall -q /usr/lib/python3 /usr/lib/python3.11 || true";
const APP: &str = "RUN mkdir -p /app && cp -a /usr/lib/python3.11/email /usr/lib/python3.11/json /app/ && echo 1 > /app/release";

const BUILT: [Built; 5] = [
    Built {
        name: "app",
        base: "python",
        steps: &[COMPILE, APP],
    },
    // The same steps once more: other times, the same files.
    Built {
        name: "app-rebuilt",
        base: "python",
        steps: &["RUN date > /built", COMPILE, APP],
    },
    Built {
        name: "app-on-new-base",
        base: "python-again",
        steps: &[COMPILE, APP],
    },
    Built {
        name: "owned",
        base: BASE,
        steps: &["RUN chown -R 1000:1000 /usr/lib /usr/share /usr/bin"],
    },
    Built {
        name: "moved",
        base: BASE,
        steps: &[
            "RUN python3 -m compileall -q /usr/lib/python3.11 || true",
            "RUN mkdir -p /app && cp -a /usr/share/doc /app/doc && rm -rf /usr/share/doc",
        ],
    },
];
/// One more: the files of this one in a single layer.
const FLATTENED: (&str, &str) = ("app-flattened", "app");
/// Not of the ten: the largest of them in a single layer, whose files are all here when the other
/// one is.
pub(super) const SECOND: (&str, &str) = ("moved-flattened", "moved");

/// Returns the ten names.
pub(super) fn names() -> Vec<&'static str> {
    let roots = ROOTS.iter().map(|(name, _)| *name);
    let built = BUILT.iter().map(|built| built.name);
    roots.chain(built).chain([FLATTENED.0]).collect()
}

/// Names of the variants that [`registry`] adds to the ten: each has one small layer more.
pub(super) fn variants() -> impl Iterator<Item = String> {
    let names = names();
    (1..=VARIANTS).flat_map(move |n| names.clone().into_iter().map(move |name| variant(name, n)))
}

/// With the ten themselves these make fifty.
const VARIANTS: usize = 4;

fn variant(name: &str, number: usize) -> String {
    format!("{name}-v{number}")
}

/// Returns a registry that has the images; `None` where there is no Docker to make them with.
pub(super) fn registry(scratch: &Scratch) -> Result<Option<Registry>> {
    let made = shell::root().join("target/bench/related");
    if !made.is_file() && Docker::start(scratch)?.is_none() {
        return Ok(None);
    }
    let registry = Registry::kept(scratch)?;
    if !made.is_file() {
        build(scratch, &registry)?;
        std::fs::write(made, names().join("\n"))?;
    }
    Ok(Some(registry))
}

fn build(scratch: &Scratch, registry: &Registry) -> Result<()> {
    let docker = Docker::start(scratch)?.context("no Docker to build the images with")?;
    for (name, packages) in ROOTS {
        let archive = root_tar(name, packages)?;
        let mut import = docker.command();
        shell::run(
            import
                .arg("import")
                .arg(archive)
                .arg(registry.related(name)),
        )?;
    }
    for built in &BUILT {
        let base = registry.related(built.base);
        let text = format!("FROM {base}\n{}\n", built.steps.join("\n"));
        build_one(scratch, &docker, &text, &registry.related(built.name))?;
    }
    let script = "id=$($DOCKER create \"$1\" sh) && $DOCKER export $id | $DOCKER import - \"$2\" && $DOCKER rm $id";
    for (name, of) in [FLATTENED, SECOND] {
        let (name, of) = (registry.related(name), registry.related(of));
        let mut flatten = shell::command("sh", &["-ec", script, "sh", &of, &name]);
        shell::run(flatten.env("DOCKER", docker.line()))?;
    }
    for base in names() {
        for number in 1..=VARIANTS {
            let text = format!(
                "FROM {}\nRUN echo {number} > /version\n",
                registry.related(base)
            );
            build_one(
                scratch,
                &docker,
                &text,
                &registry.related(&variant(base, number)),
            )?;
        }
    }
    let all = names().into_iter().chain([SECOND.0]).map(str::to_owned);
    for name in all.chain(variants()) {
        let mut push = docker.command();
        push.args(["push", "-q", &registry.related(&name)]);
        shell::run(push.stdout(Stdio::null()))?;
    }
    Ok(())
}

fn build_one(scratch: &Scratch, docker: &Docker, dockerfile: &str, name: &str) -> Result<()> {
    let context = scratch.folder("context")?;
    std::fs::write(context.join("Dockerfile"), dockerfile)?;
    let mut build = docker.command();
    build.args(["build", "-q", "--no-cache", "--network", "none", "-t", name]);
    shell::run(build.arg(Path::new(&context)).env("DOCKER_BUILDKIT", "0"))
}
