//! `pull`, `load`, `import`, `tag`, `untag`, `rmi`, `image create-minimal`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use lamina_engine::Engine;
use lamina_image::{HostPaths, ImportOptions, LoadSource, UsedBy};
use lamina_types::{ErrorKind, ImageId, Platform, Reference};

use crate::app::{App, Pulling};
use crate::args::{
    CreateMinimalArgs, ImportArgs, LoadArgs, ProgressArg, PullArgs, RmiArgs, TagArgs, TransferArgs,
    UntagArgs,
};
use crate::cli::Verb;
use crate::commands::undo::tell;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::hints::{About, with_hints};
use crate::ui::{self, Progress};

impl Verb for PullArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let name = reference(&self.image)?;
        let platform = platform(self.platform.as_deref())?;
        let config = app.config()?;
        let pulling = self.transfer.pulling();
        let progress = self.transfer.show(app);
        let hinted = |failure| with_hints(failure, About::Registry(&self.image));
        let engine = app.engine_with(&config, Pulling::default())?;
        let client = app
            .client(&config, &pulling)
            .map_err(Failure::from)
            .map_err(hinted)?;
        let pulled = engine
            .images()
            .pull(&client, &name, platform.as_ref(), &progress)
            .map_err(Failure::from)
            .map_err(hinted)?;
        drop(progress);
        engine.note_transfer("pull", &name);
        let mut text = String::new();
        if !self.transfer.quiet {
            let shown = name.familiar();
            text += &format!("Digest: {}\n", pulled.image.target.digest);
            text += &match pulled.newer {
                true => format!("Status: Downloaded newer image for {shown}\n"),
                false => format!("Status: Image is up to date for {shown}\n"),
            };
        }
        ui::out(&format!("{text}{name}\n"))?;
        app.tidy(&engine);
        Ok(exit_codes::SUCCESS)
    }
}

impl TransferArgs {
    pub(super) fn pulling(&self) -> Pulling {
        Pulling {
            tls_verify: self.registry.tls_verify,
            signals: None,
        }
    }

    pub(super) fn show(&self, app: &App) -> Progress {
        let wanted = self.progress.unless(self.quiet);
        Progress::new(wanted, app.environment.fancy())
    }
}

impl Verb for LoadArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let source = match &self.input {
            Some(path) if path.is_dir() => LoadSource::Directory(path.clone()),
            Some(path) => LoadSource::File(open(path)?),
            None if ui::in_is_terminal() => {
                return Err(Failure::said(
                    ErrorKind::InvalidArgument,
                    "requested load from stdin, but stdin is empty",
                )
                .hint("lamina load -i FILE, or lamina load < FILE"));
            }
            None => LoadSource::Stream(Box::new(io::stdin())),
        };
        let progress = Progress::new(
            ProgressArg::Auto.unless(self.quiet),
            app.environment.fancy(),
        );
        let engine = app.engine_configured()?;
        let loaded = engine
            .images()
            .load(source, None, &progress)
            .map_err(|error| with_hints(Failure::from(error), About::Store))?;
        drop(progress);
        let mut text = String::new();
        for image in loaded {
            let shown = image.names.first().map(Reference::familiar);
            engine.note_image("load", &image.id, shown.as_deref());
            for name in &image.names {
                text += &format!("Loaded image: {}\n", name.familiar());
            }
            if image.names.is_empty() {
                text += &format!("Loaded image ID: {}\n", image.id);
            }
        }
        ui::out(&text)?;
        app.tidy(&engine);
        Ok(exit_codes::SUCCESS)
    }
}

impl Verb for ImportArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let options = ImportOptions {
            name: self.image.as_deref().map(reference).transpose()?,
            changes: self.change.clone(),
            message: self.message.clone().unwrap_or_default(),
            platform: platform(self.platform.as_deref())?,
        };
        let tar: Box<dyn Read> = match self.file.to_str() {
            Some("-") => Box::new(io::stdin()),
            _ => Box::new(open(&self.file)?),
        };
        let engine = app.engine_configured()?;
        let progress = Progress::new(ProgressArg::Auto, app.environment.fancy());
        let id = engine
            .images()
            .import(tar, &options, &progress)
            .map_err(|error| with_hints(Failure::from(error), About::Store))?;
        drop(progress);
        let shown = options.name.as_ref().map(Reference::familiar);
        engine.note_image("import", &id, shown.as_deref());
        ui::out(&format!("{id}\n"))?;
        app.tidy(&engine);
        Ok(exit_codes::SUCCESS)
    }
}

impl Verb for TagArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let target = reference(&self.target)?;
        let engine = app.engine()?;
        engine
            .images()
            .tag(&self.source, &target)
            .map_err(|error| with_hints(Failure::from(error), About::Image))?;
        if let Ok(image) = engine.images().find_reference(&target) {
            engine.note_image("tag", &image.id, Some(&target.familiar()));
        }
        Ok(exit_codes::SUCCESS)
    }
}

impl Verb for UntagArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let names = self.names.iter().map(|name| reference(name));
        let names: Vec<Reference> = names.collect::<Outcome<_>>()?;
        let engine = app.engine_configured()?;
        let mut removal = engine.removal(false);
        let image = engine.images().find(&self.image).ok();
        let removed = engine
            .images()
            .untag_into(&mut removal, &self.image, &names)
            .map_err(|error| with_hints(Failure::from(error), About::Image))?;
        let finished = removal.finish()?;
        if let Some(image) = &image {
            for name in &removed {
                engine.note_image("untag", &image.id, Some(&name.familiar()));
            }
        }
        let lines = removed
            .iter()
            .map(|name| format!("Untagged: {}\n", name.familiar()));
        ui::out(&lines.collect::<String>())?;
        tell(&finished);
        Ok(exit_codes::SUCCESS)
    }
}

impl Verb for RmiArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let engine = app.engine_configured()?;
        let mut removal = engine.removal(self.now);
        let mut failed = false;
        for image in &self.images {
            let users = |id: &ImageId| users(&engine, id);
            let before = engine.images().find(image).ok();
            let removed = engine
                .images()
                .remove_into(&mut removal, image, self.force, &users);
            match removed {
                Ok(removed) => {
                    engine.note_removed(before.map(|image| image.id), &removed);
                    let lines = removed.iter().map(|line| format!("{line}\n"));
                    ui::out(&lines.collect::<String>())?;
                }
                Err(error) => {
                    let failure = with_hints(Failure::from(error), About::Image);
                    ui::err(&failure.render());
                    failed |= !(self.force && failure.kind() == ErrorKind::NotFound);
                }
            }
        }
        tell(&removal.finish()?);
        app.tidy(&engine);
        if failed {
            Err(Failure::printed())
        } else {
            Ok(exit_codes::SUCCESS)
        }
    }
}

/// Returns the containers of an image. Where that cannot be found out, it counts as in use: what is
/// not known to be free is not removed.
fn users(engine: &Engine, image: &ImageId) -> Vec<UsedBy> {
    engine.image_users(image).unwrap_or_else(|error| {
        vec![UsedBy {
            container: format!("(unknown: {error})"),
            running: true,
        }]
    })
}

impl Verb for CreateMinimalArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let name = reference(&self.name)?;
        let cwd = app.working_directory()?;
        let added: Vec<_> = self.add.iter().map(|path| cwd.join(path)).collect();
        let engine = app.engine_configured()?;
        let id = engine
            .images()
            .create_minimal(&name, &HostPaths::default(), &added)
            .map_err(|error| with_hints(Failure::from(error), About::Store))?;
        engine.note_image("create", &id, Some(&name.familiar()));
        ui::out(&format!("{id}\n"))?;
        Ok(exit_codes::SUCCESS)
    }
}

pub(crate) fn reference(text: &str) -> Outcome<Reference> {
    text.parse()
        .map_err(|error| Failure::new(error, ErrorKind::InvalidArgument))
}

fn platform(text: Option<&str>) -> Outcome<Option<Platform>> {
    text.map(|text| {
        text.parse()
            .map_err(|error| Failure::new(error, ErrorKind::InvalidArgument))
    })
    .transpose()
}

fn open(path: &Path) -> Outcome<File> {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot open {path}")]
    struct OpenError {
        path: String,
        source: io::Error,
    }
    File::open(path).map_err(|source| {
        let kind = ErrorKind::of_io(&source);
        let path = path.display().to_string();
        Failure::new(OpenError { path, source }, kind)
    })
}
