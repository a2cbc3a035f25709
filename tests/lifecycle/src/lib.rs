//! Transcripts of Docker's documented life of a container: what a command prints on stdout, and its
//! exit code. The pages are in `pages/`, and are written in Docker's words.
//!
//! Every section is run against lamina; and against Docker itself where it is asked for, so that
//! what the pages say is Docker's and not our own idea of it.

#![forbid(unsafe_code)]

pub mod engine;
pub mod form;
