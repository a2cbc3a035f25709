//! Finding a program's libraries on a host as its dynamic linker would (ld.so(8)).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use super::search::{SearchPath, is_built_in, is_musl, under};
use super::{Headers, Kind};
use crate::minimal::tree::real_path;

/// A library that nothing on the search path provides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The object that needs it.
    pub(crate) needed_by: PathBuf,
    /// The library's name.
    pub(crate) library: String,
}

/// What a program needs beside itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Closure {
    /// Its interpreter and libraries as the linker opens them, links not followed.
    pub(crate) paths: BTreeSet<PathBuf>,
    /// Configuration that the linker reads at run time.
    pub(crate) configuration: BTreeSet<PathBuf>,
}

/// Finds libraries below one root directory; remembers what it has read.
#[derive(Debug)]
pub(crate) struct Libraries {
    root: PathBuf,
    headers: BTreeMap<PathBuf, Option<Headers>>,
    search: BTreeMap<(bool, bool), SearchPath>,
}

/// An object on the way from the program to a library.
struct Object {
    path: PathBuf,
    /// `DT_RPATH` of the objects that led here: unlike RUNPATH it is inherited.
    inherited: Vec<PathBuf>,
}

impl Libraries {
    /// Returns a finder for the host whose root directory is `root`.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            headers: BTreeMap::new(),
            search: BTreeMap::new(),
        }
    }

    /// Returns everything that `program` needs to be executed; empty for a static program or
    /// anything that is not ELF.
    pub(crate) fn closure(&mut self, program: &Path) -> Result<Closure, Missing> {
        let mut closure = Closure::default();
        let Ok(program) = real_path(&self.root, program) else {
            return Ok(closure);
        };
        let Some(headers) = self.headers(&program) else {
            return Ok(closure);
        };
        let interpreter = headers.interpreter.clone();
        if let Some(path) = &interpreter {
            let path = PathBuf::from(path);
            if real_path(&self.root, &path).is_err() {
                return Err(Missing {
                    needed_by: program,
                    library: path.display().to_string(),
                });
            }
            closure.paths.insert(path);
        }
        let search = self.search(interpreter.as_deref(), headers.kind.is_64());
        closure.configuration.extend(search.file.clone());
        let mut seen = BTreeSet::new();
        let mut waiting = vec![Object {
            path: program,
            inherited: Vec::new(),
        }];
        while let Some(object) = waiting.pop() {
            self.needs(&object, &search, &mut closure, &mut seen, &mut waiting)?;
        }
        Ok(closure)
    }

    /// Finds the libraries that one object needs itself.
    fn needs(
        &mut self,
        object: &Object,
        search: &SearchPath,
        closure: &mut Closure,
        seen: &mut BTreeSet<String>,
        waiting: &mut Vec<Object>,
    ) -> Result<(), Missing> {
        let Some(headers) = self.headers(&object.path) else {
            return Ok(());
        };
        let origin = object.path.parent().unwrap_or(Path::new("/")).to_owned();
        let rpath = if headers.runpath.is_empty() {
            let mut rpath = expand(&headers.rpath, &origin);
            rpath.extend(object.inherited.iter().cloned());
            rpath
        } else {
            Vec::new()
        };
        let own: Vec<PathBuf> = rpath
            .iter()
            .cloned()
            .chain(expand(&headers.runpath, &origin))
            .collect();
        for name in &headers.needed {
            if !seen.insert(name.clone()) {
                continue;
            }
            let found = self.find(name, headers.kind, &own, search);
            let Some((path, real)) = found else {
                return Err(Missing {
                    needed_by: object.path.clone(),
                    library: name.clone(),
                });
            };
            if path.parent().is_some_and(|d| !is_built_in(d)) && search.file.is_none() {
                closure
                    .configuration
                    .insert(PathBuf::from("/etc/ld.so.cache"));
            }
            closure.paths.insert(path);
            waiting.push(Object {
                path: real,
                inherited: rpath.clone(),
            });
        }
        Ok(())
    }

    /// Returns the path that the linker opens for `name`, and the same without links.
    fn find(
        &mut self,
        name: &str,
        kind: Kind,
        own: &[PathBuf],
        search: &SearchPath,
    ) -> Option<(PathBuf, PathBuf)> {
        if name.contains('/') {
            return self.fits(Path::new(name), kind);
        }
        // The directories come from the host's own configuration; a name cannot leave them.
        if matches!(name, "" | "." | "..") {
            return None;
        }
        own.iter()
            .chain(&search.directories)
            .find_map(|directory| self.fits(&directory.join(name), kind))
    }

    /// Returns the path if a library for the right machine is there.
    fn fits(&mut self, path: &Path, kind: Kind) -> Option<(PathBuf, PathBuf)> {
        let real = real_path(&self.root, path).ok()?;
        let headers = self.headers(&real)?;
        (headers.kind == kind).then(|| (path.to_owned(), real))
    }

    fn headers(&mut self, real: &Path) -> Option<Headers> {
        if let Some(known) = self.headers.get(real) {
            return known.clone();
        }
        let read = File::open(under(&self.root, real))
            .ok()
            .filter(|file| file.metadata().is_ok_and(|m| m.is_file()))
            .and_then(|file| Headers::read(&file));
        self.headers.insert(real.to_owned(), read.clone());
        read
    }

    fn search(&mut self, interpreter: Option<&str>, is_64: bool) -> SearchPath {
        let key = (interpreter.is_some_and(is_musl), is_64);
        self.search
            .entry(key)
            .or_insert_with(|| SearchPath::of(&self.root, interpreter, is_64))
            .clone()
    }
}

/// Replaces `$ORIGIN` and `$LIB`; an entry with another token, or a relative one, is dropped.
fn expand(entries: &[String], origin: &Path) -> Vec<PathBuf> {
    let origin = origin.to_string_lossy();
    let mut out = Vec::new();
    for entry in entries {
        let entry = entry
            .replace("${ORIGIN}", &origin)
            .replace("$ORIGIN", &origin)
            .replace("${LIB}", "$LIB");
        for lib in ["lib64", "lib"] {
            let path = entry.replace("$LIB", lib);
            if path.starts_with('/') && !path.contains('$') && !out.contains(&PathBuf::from(&path))
            {
                out.push(PathBuf::from(path));
            }
        }
    }
    out
}
