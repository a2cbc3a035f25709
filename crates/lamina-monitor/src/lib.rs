//! One small supervisor process per container: pty and pipes, logs, reaping, the exit record.

#![forbid(unsafe_code)]
