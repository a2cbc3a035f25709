//! `push`.

use lamina_image::{Packing, PushOptions};
use lamina_types::{ErrorKind, Platform, Reference};

use crate::app::App;
use crate::args::PushArgs;
use crate::cli::Verb;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::hints::{About, with_hints};
use crate::ui;

impl Verb for PushArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let name = self.name()?;
        let options = self.options()?;
        let config = app.config()?;
        let hinted = |failure| with_hints(failure, About::Push(&self.image));
        let engine = app.engine()?;
        let images = engine.images();
        let names = match self.all_tags {
            true => images.tags(&name).map_err(Failure::from)?,
            false => vec![name.clone()],
        };
        let repository = name.familiar_repository();
        if names.is_empty() {
            let text = format!("an image does not exist locally with the tag: {repository}");
            return Err(hinted(Failure::said(ErrorKind::NotFound, text)));
        }
        let client = app
            .client(&config, &self.transfer.pulling())
            .map_err(Failure::from)?;
        if !self.transfer.quiet {
            ui::out(&format!(
                "The push refers to repository [{}]\n",
                name.repository()
            ))?;
            if self.all_tags {
                let tags: Vec<&str> = names.iter().filter_map(Reference::tag).collect();
                ui::out(&format!("{} tags: {}\n", tags.len(), tags.join(", ")))?;
            }
        }
        for name in &names {
            let progress = self.transfer.show(app);
            let pushed = images.push(&client, name, &options, &progress);
            drop(progress);
            let pushed = pushed.map_err(Failure::from).map_err(hinted)?;
            engine.note_transfer("push", name);
            if !self.transfer.quiet {
                let tag = name.tag().unwrap_or_default();
                let descriptor = pushed.descriptor;
                ui::out(&format!(
                    "{tag}: digest: {} size: {}\n",
                    descriptor.digest, descriptor.size
                ))?;
            }
        }
        if self.transfer.quiet {
            match self.all_tags {
                true => ui::out(&format!("{}\n", name.repository()))?,
                false => ui::out(&format!("{name}\n"))?,
            }
        }
        Ok(exit_codes::SUCCESS)
    }
}

impl PushArgs {
    fn name(&self) -> Outcome<Reference> {
        let name: Reference = self
            .image
            .parse()
            .map_err(|error| Failure::new(error, ErrorKind::InvalidArgument))?;
        let last = self.image.rsplit('/').next().unwrap_or_default();
        if self.all_tags && last.contains([':', '@']) {
            return Err(Failure::usage("tag can't be used with --all-tags/-a"));
        }
        Ok(name)
    }

    fn options(&self) -> Outcome<PushOptions> {
        let platform = self.platform.as_deref().map(str::parse::<Platform>);
        let packing = self.compression.as_deref().map(str::parse::<Packing>);
        Ok(PushOptions {
            platform: platform
                .transpose()
                .map_err(|error| Failure::new(error, ErrorKind::InvalidArgument))?,
            packing: packing
                .transpose()
                .map_err(|error| Failure::new(error, ErrorKind::InvalidArgument))?,
        })
    }
}
