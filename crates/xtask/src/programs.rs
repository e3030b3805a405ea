//! Our own programs, as `cargo test --workspace` builds them.
//!
//! `cargo build --package` would choose the features of one package's dependencies where the tests have those of all, and
//! compile much of the workspace a second time.

use crate::repository;
use crate::shell;
use std::path::PathBuf;

/// A program for whose tests cargo builds it too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    name: &'static str,
    /// An integration test of its package.
    test: &'static str,
}

/// The server and all commands, not optimized: what it says is the same, and nothing is measured on it.
pub(crate) const MILENA: Program = Program { name: "milena", test: "commands" };
/// Compares answers with those of Apache Kafka.
pub(crate) const TWIN: Program = Program { name: "milena-twin", test: "recorded" };

impl Program {
    /// Builds it, and tells where it is.
    pub(crate) fn build(self) -> Result<PathBuf, String> {
        let arguments = ["test", "--workspace", "--locked", "--quiet", "--no-run", "--test", self.test];
        shell::run(&mut shell::command(&repository::root(), "cargo", &arguments))?;
        Ok(repository::target().join("debug").join(self.name))
    }
}
