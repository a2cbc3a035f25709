//! `volume create`, `rm`, `rename`, `clone`, `export`, `import`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read};
use std::path::Path;

use lamina_engine::{VolumeError, VolumeRequest};
use lamina_image::decompress;
use lamina_types::ErrorKind;

use crate::app::App;
use crate::args::{
    VolumeCloneArgs, VolumeCreateArgs, VolumeExportArgs, VolumeImportArgs, VolumeRenameArgs,
    VolumeRmArgs,
};
use crate::cli::Verb;
use crate::commands::output::Output;
use crate::commands::undo::tell;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui;

/// How much of an archive is read or written at once.
const CHUNK: usize = 1 << 18;

/// Adds what to type next.
pub(super) fn failed(error: VolumeError) -> Failure {
    let failure = Failure::from(error);
    match failure.kind() {
        ErrorKind::NotFound => failure.hint("lamina volume ls shows all volumes"),
        ErrorKind::FailedPrecondition => {
            failure.hint("lamina ps -a --filter volume=NAME shows the containers that use it")
        }
        _ => failure,
    }
}

impl Verb for VolumeCreateArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let pairs = |texts: &[String]| -> BTreeMap<String, String> {
            let pair = |text: &String| {
                let (key, value) = text.split_once('=').unwrap_or((text, ""));
                (key.to_owned(), value.to_owned())
            };
            texts.iter().map(pair).collect()
        };
        let name = match (self.old_name, self.name) {
            (Some(_), Some(_)) => {
                let text = "conflicting options: either specify --name or a positional argument";
                return Err(Failure::said(ErrorKind::InvalidArgument, text));
            }
            (old, new) => old.or(new),
        };
        let request = VolumeRequest {
            name: name.filter(|name| !name.is_empty()),
            driver: Some(self.driver),
            options: pairs(&self.opt),
            labels: pairs(&self.label),
        };
        let name = app.engine()?.create_volume(&request).map_err(failed)?;
        ui::out(&format!("{name}\n"))?;
        Ok(exit_codes::SUCCESS)
    }
}

impl Verb for VolumeRmArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let engine = app.engine_configured()?;
        let mut removal = engine.removal(self.now);
        let mut any_failed = false;
        for name in &self.names {
            match engine.remove_volume(&mut removal, name) {
                Ok(()) => ui::out(&format!("{name}\n"))?,
                Err(VolumeError::NotFound(_)) if self.force => ui::out(&format!("{name}\n"))?,
                Err(error) => {
                    ui::err(&failed(error).render());
                    any_failed = true;
                }
            }
        }
        tell(&removal.finish()?);
        app.tidy(&engine);
        if self.now {
            // What cannot be unlinked now is with the next command.
            let _ = engine.store().empty_trash();
        }
        match any_failed {
            true => Err(Failure::printed()),
            false => Ok(exit_codes::SUCCESS),
        }
    }
}

impl Verb for VolumeRenameArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let engine = app.engine()?;
        engine
            .rename_volume(&self.volume, &self.name)
            .map_err(failed)?;
        Ok(exit_codes::SUCCESS)
    }
}

impl Verb for VolumeCloneArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let engine = app.engine()?;
        engine.clone_volume(&self.from, &self.to).map_err(failed)?;
        ui::out(&format!("{}\n", self.to))?;
        Ok(exit_codes::SUCCESS)
    }
}

impl Verb for VolumeExportArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let hint = "lamina volume export -o FILE VOLUME, or lamina volume export VOLUME > FILE";
        let output = Output::open(app, self.output.as_deref(), hint)?;
        let engine = app.engine()?;
        let out = BufWriter::with_capacity(CHUNK, output.file());
        engine.export_volume(&self.volume, out).map_err(failed)?;
        output.finish()?;
        Ok(exit_codes::SUCCESS)
    }
}

impl Verb for VolumeImportArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let unreadable = |error: io::Error| {
            let kind = ErrorKind::of_io(&error);
            let shown = self.file.display();
            Failure::said(kind, format!("read {shown}: {error}"))
        };
        let tar: Box<dyn Read> = match self.file == Path::new("-") {
            true => Box::new(io::stdin().lock()),
            false => Box::new(File::open(&self.file).map_err(unreadable)?),
        };
        let tar = decompress(BufReader::with_capacity(CHUNK, tar)).map_err(unreadable)?;
        let engine = app.engine()?;
        engine.import_volume(&self.volume, tar).map_err(failed)?;
        Ok(exit_codes::SUCCESS)
    }
}
