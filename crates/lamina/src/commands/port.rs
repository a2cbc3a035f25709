//! `port`.

use lamina_types::ErrorKind;

use crate::app::App;
use crate::args::PortArgs;
use crate::cli::Verb;
use crate::commands::containers::find;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};

impl Verb for PortArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let engine = app.engine()?;
        find(&engine, &self.container)?;
        let Some(port) = &self.port else {
            // A container without a network publishes nothing.
            return Ok(exit_codes::SUCCESS);
        };
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        if number.parse::<u16>().is_err() {
            return Err(Failure::said(
                ErrorKind::InvalidArgument,
                format!("invalid port {number:?}"),
            ));
        }
        let name = &self.container;
        Err(Failure::said(
            ErrorKind::NotFound,
            format!("no public port '{number}/{protocol}' published for {name}"),
        ))
    }
}
