//! `save`.

use lamina_image::{ArchiveFormat, SaveOptions};
use lamina_types::{ErrorKind, Platform};

use crate::app::App;
use crate::args::{ProgressArg, SaveArgs};
use crate::cli::Verb;
use crate::commands::output::Output;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::hints::{About, with_hints};
use crate::ui::Progress;

impl Verb for SaveArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let options = self.options()?;
        let hint = "lamina save -o FILE IMAGE, or lamina save IMAGE > FILE";
        let output = Output::open(app, self.output.as_deref(), hint)?;
        let engine = app.engine()?;
        let progress = Progress::new(ProgressArg::Auto, app.environment.fancy());
        let saved = engine
            .images()
            .save(&self.images, &options, output.file(), &progress);
        drop(progress);
        saved.map_err(|error| with_hints(Failure::from(error), About::Image))?;
        output.finish()?;
        for image in &self.images {
            if let Ok(found) = engine.images().find(image) {
                engine.note_image("save", &found.id, Some(image));
            }
        }
        Ok(exit_codes::SUCCESS)
    }
}

impl SaveArgs {
    fn options(&self) -> Outcome<SaveOptions> {
        let format = match self.format.as_str() {
            "docker-archive" => ArchiveFormat::Docker,
            "oci-archive" => ArchiveFormat::Oci,
            other => {
                return Err(Failure::usage(format!(
                    "unknown format {other:?}: expected docker-archive or oci-archive"
                )));
            }
        };
        let platform = self.platform.as_deref().map(str::parse::<Platform>);
        let platform = platform
            .transpose()
            .map_err(|error| Failure::new(error, ErrorKind::InvalidArgument))?;
        Ok(SaveOptions { format, platform })
    }
}
