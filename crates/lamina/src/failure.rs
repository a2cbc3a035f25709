//! What a command says when it fails: the error, its causes, and what to type next.

use std::error::Error;
use std::fmt::Write;

use lamina_types::ErrorKind;

use crate::exit_codes;
use crate::hints;
use crate::ui::escape;

/// A failed command: the only error type above the crates.
#[derive(Debug)]
pub(crate) struct Failure {
    error: Box<dyn Error + 'static>,
    kind: ErrorKind,
    hints: Vec<String>,
    code: u8,
    silent: bool,
}

/// The result of a command.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// An error that is a sentence of the command line's own.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(String);

impl Failure {
    /// Returns the failure of an error from below.
    pub(crate) fn new(error: impl Error + 'static, kind: ErrorKind) -> Self {
        Self {
            hints: hints::of_error(&error),
            error: Box::new(error),
            kind,
            code: exit_codes::FAILED,
            silent: false,
        }
    }

    /// Returns the failure of arguments that make no sense: exit status 125.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(Said(text.into()), ErrorKind::InvalidArgument).exits(exit_codes::ENGINE)
    }

    /// Returns a failure that the command line found itself.
    pub(crate) fn said(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self::new(Said(text.into()), kind)
    }

    /// Returns a failure whose errors were printed already, one by one.
    pub(crate) fn printed() -> Self {
        Self {
            silent: true,
            ..Self::said(ErrorKind::Internal, "")
        }
    }

    /// Adds a hint: a command to type, or what to look at.
    #[must_use]
    pub(crate) fn hint(mut self, text: impl Into<String>) -> Self {
        self.hints.push(text.into());
        self
    }

    /// Sets the exit status.
    #[must_use]
    pub(crate) fn exits(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Returns the exit status.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// Returns the class of the error.
    pub(crate) fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns what is printed: `error: …`, `caused by: …` for each cause, `hint: …`.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        if self.silent {
            return text;
        }
        let mut said = self.error.to_string();
        push(&mut text, "error", &said);
        let mut source = self.error.source();
        while let Some(cause) = source {
            let next = cause.to_string();
            // A transparent wrapper says the same words as its source.
            if next != said {
                push(&mut text, "caused by", &next);
            }
            said = next;
            source = cause.source();
        }
        for hint in &self.hints {
            push(&mut text, "hint", hint);
        }
        text
    }
}

/// Makes failures of the errors from below, which all know their class.
macro_rules! from_errors {
    ($($error:ty),+ $(,)?) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let kind = error.kind();
                Self::new(error, kind)
            }
        }
    )+};
}

from_errors!(
    crate::config::ConfigError,
    lamina_distribution::CredentialsError,
    lamina_distribution::FetchError,
    lamina_engine::AttachError,
    lamina_engine::CheckupError,
    lamina_engine::CleanupError,
    lamina_engine::CommitError,
    lamina_engine::CopyError,
    lamina_engine::CreateError,
    lamina_engine::DiffError,
    lamina_engine::ExportError,
    lamina_engine::ExecError,
    lamina_engine::RelayError,
    lamina_engine::FindError,
    lamina_engine::HealthError,
    lamina_engine::InfoError,
    lamina_engine::InspectError,
    lamina_engine::KillError,
    lamina_engine::ListError,
    lamina_engine::LogsError,
    lamina_engine::OpenError,
    lamina_engine::PauseError,
    lamina_engine::PruneError,
    lamina_engine::RemoveError,
    lamina_engine::RenameError,
    lamina_engine::RestartError,
    lamina_engine::StartError,
    lamina_engine::StatsError,
    lamina_engine::StopError,
    lamina_engine::TopError,
    lamina_engine::UpdateError,
    lamina_engine::VolumeError,
    lamina_image::BlobsError,
    lamina_image::CreateMinimalError,
    lamina_image::ExplainError,
    lamina_image::FindError,
    lamina_image::ImportError,
    lamina_image::LoadError,
    lamina_image::MigrateError,
    lamina_image::PullError,
    lamina_image::PushError,
    lamina_image::RemoveError,
    lamina_image::SaveError,
    lamina_image::StoreFault,
    lamina_image::TagError,
    lamina_image::UntagError,
    lamina_monitor::SessionError,
    lamina_monitor::events::EventsError,
    lamina_monitor::log::LogError,
    lamina_registry::ServeError,
    lamina_fs::PathError,
    lamina_store::CollectError,
    lamina_store::ExpireError,
    lamina_store::RemovalError,
    lamina_store::SubjectError,
    lamina_store::UndoRemovalError,
);

/// Adds a line; names from images and registries cannot reach the terminal unescaped.
fn push(text: &mut String, label: &str, line: &str) {
    let _ = writeln!(text, "{label}: {}", escape(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open \u{1b}[31m/x")]
    struct Outer(#[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Middle(#[from] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("no such file")]
    struct Inner;

    #[test]
    fn prints_every_cause_once_and_escapes() {
        let failure = Failure::new(Outer(Middle(Inner)), ErrorKind::NotFound)
            .hint("mkdir -p /x")
            .exits(125);
        assert_eq!(failure.code(), 125);
        assert_eq!(
            failure.render(),
            "error: cannot open \\u{1b}[31m/x\ncaused by: no such file\nhint: mkdir -p /x\n"
        );
    }
}
