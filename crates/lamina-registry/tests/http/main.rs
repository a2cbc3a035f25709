//! The embedded registry, request by request, with no client library in between.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]
#![expect(
    clippy::too_many_lines,
    reason = "each is one walk through a section of the specification"
)]

mod evil;
mod protocol;
mod support;
