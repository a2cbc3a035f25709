//! Commands on registries.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::RegistryArgs;

/// `lamina login`.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// Username
    #[arg(short, long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// Password or personal access token; others on this machine can see it here
    #[arg(
        short,
        long,
        value_name = "PASSWORD",
        conflicts_with = "password_stdin"
    )]
    pub(crate) password: Option<String>,
    /// Take the password from stdin
    #[arg(long)]
    pub(crate) password_stdin: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
    /// The registry; Docker Hub if none is given
    #[arg(value_name = "SERVER")]
    pub(crate) server: Option<String>,
}

/// `lamina logout`.
#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// The registry; Docker Hub if none is given
    #[arg(value_name = "SERVER")]
    pub(crate) server: Option<String>,
}

/// `lamina registry serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Listen here; port 0 is any that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5000")]
    pub(crate) listen: SocketAddr,
    /// Let the users of this file (htpasswd -B) read and write
    #[arg(long, value_name = "FILE")]
    pub(crate) htpasswd: Option<PathBuf>,
    /// Speak TLS with this certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Let nobody write
    #[arg(long, conflicts_with = "writable")]
    pub(crate) read_only: bool,
    /// Let everybody write
    #[arg(long)]
    pub(crate) writable: bool,
    /// Let only users read
    #[arg(long, requires = "htpasswd", conflicts_with = "writable")]
    pub(crate) private: bool,
    /// Don't print requests
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `lamina search-tags`.
#[derive(Debug, Args)]
pub(crate) struct SearchTagsArgs {
    /// Show what each tag stands for; costs a request for each
    #[arg(long)]
    pub(crate) digests: bool,
    /// Show at most this many tags
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
    /// Format output: table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Only show tags
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
    /// The repository
    #[arg(value_name = "REPOSITORY")]
    pub(crate) repository: String,
}
