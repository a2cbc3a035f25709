//! What to type next, by what failed and what it was about.

use std::error::Error;

use lamina_types::{ErrorKind, Reference};

use crate::failure::Failure;

/// What a failed command was about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum About<'a> {
    /// An image that is here, or should be.
    Image,
    /// A registry's image.
    Registry(&'a str),
    /// An image on its way to a registry.
    Push(&'a str),
    /// A container, by what was typed.
    Container(&'a str),
    /// The store and the machine.
    Store,
}

/// Returns the hint that an error calls for whatever the command was. Errors of the store are
/// wrapped transparently on their way up, so they are known by what they say.
pub(crate) fn of_error(error: &dyn Error) -> Vec<String> {
    let mut cause = Some(error);
    while let Some(one) = cause {
        if one.to_string().ends_with("has no split stream") {
            return vec!["lamina system migrate converts what an older version left".to_owned()];
        }
        cause = one.source();
    }
    Vec::new()
}

/// Returns the registry of an image as the argument of a login; Docker Hub needs none.
fn registry_of(image: &str) -> String {
    match image.parse::<Reference>() {
        Ok(name) if name.domain() != "docker.io" => format!(" {}", name.domain()),
        _ => String::new(),
    }
}

/// Adds the hints that the table has for a failure.
pub(crate) fn with_hints(failure: Failure, about: About<'_>) -> Failure {
    use ErrorKind as Kind;
    if !rustix::process::geteuid().is_root() && failure.kind() == Kind::PermissionDenied {
        return failure.hint("sudo lamina …");
    }
    match (about, failure.kind()) {
        (About::Image, Kind::NotFound) => {
            failure.hint("lamina images shows what is here; lamina pull NAME fetches an image")
        }
        (About::Image, Kind::FailedPrecondition) => {
            failure.hint("lamina ps -a shows the containers that use it; lamina rm removes them")
        }
        (About::Registry(image), Kind::Unauthenticated) => {
            failure.hint(format!("lamina login{}", registry_of(image)))
        }
        (About::Push(image), Kind::Unauthenticated | Kind::PermissionDenied) => {
            failure.hint(format!("lamina login{}", registry_of(image)))
        }
        (About::Push(image), Kind::Unavailable | Kind::Timeout) => failure.hint(format!(
            "lamina push {image} sends only what has not arrived; --tls-verify=false allows http"
        )),
        (About::Push(_), Kind::NotFound) => {
            failure.hint("lamina images shows what is here; lamina tag IMAGE NAME gives it a name")
        }
        (About::Registry(image), Kind::Unavailable | Kind::Timeout) => failure.hint(format!(
            "lamina pull {image} continues where it stopped; --tls-verify=false allows http"
        )),
        (About::Registry(_), Kind::NotFound) => {
            failure.hint("lamina images shows what is here; look for a typing mistake in the name")
        }
        (About::Container(_), Kind::NotFound) => failure.hint("lamina ps -a shows all containers"),
        (About::Container(name), Kind::FailedPrecondition) => {
            failure.hint(format!("lamina inspect {name} shows its state"))
        }
        (About::Store, Kind::DataLoss) => failure.hint("lamina fsck --repair mends the store"),
        (_, Kind::ResourceExhausted) => failure
            .hint("df -h shows what is full; lamina rmi and lamina rm remove what is not needed"),
        (_, Kind::Unsupported) => failure.hint("lamina info shows what this machine can do"),
        _ => failure,
    }
}
