//! `cargo xtask product`: what must hold for the binary that is shipped.

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// glibc's name-service code, which loads shared objects and so crashes static binaries.
const NSS: &[u8] = b"nsswitch.conf\0";

/// Builds the release binary and looks into it.
pub(crate) fn run() -> Result<()> {
    shell::cargo(&["build", "--release", "--package", "lamina", "--quiet"])?;
    let path = shell::binary("release");
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.windows(NSS.len()).any(|window| window == NSS) {
        bail!("getaddrinfo or getpwnam is linked in: a static binary must not use NSS");
    }
    let interpreter = b"/lib64/ld-linux-x86-64.so.2\0";
    let headers = &bytes[..bytes.len().min(4096)];
    if headers
        .windows(interpreter.len())
        .any(|window| window == interpreter)
    {
        bail!("the binary is not static");
    }
    println!("lamina: {} bytes, static", bytes.len());
    Ok(())
}
