//! System call filters: a profile becomes an OCI filter, an OCI filter becomes classic BPF.
//!
//! `profile` reads profiles (Docker's JSON form, and our default from `table`) and decides by
//! capabilities and architecture which rules hold. `compile` turns rules into a program the
//! kernel verifies. Nothing here loads anything: that is the init process's last step but one.

mod builder;
pub mod compile;
pub(crate) mod names;
pub mod profile;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use compile::Program;
