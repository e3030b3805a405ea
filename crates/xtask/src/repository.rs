//! The repository as the checks see it: the files that git tracks or would add, and what cargo says of the packages.

use crate::shell;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("xtask stands two folders below the root").to_path_buf()
}

/// The folder that cargo builds into.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |given| root().join(given))
}

/// One text file: its path relative to the root, with `/`, and its text.
pub(crate) struct TextFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Every file that is tracked or would be added by `git add`, as text; files that are not UTF-8 are left out.
pub(crate) fn text_files(root: &Path) -> Result<Vec<TextFile>, String> {
    let listing = shell::output(&mut shell::command(
        root,
        "git",
        &["ls-files", "--cached", "--others", "--exclude-standard", "-z"],
    ))?;
    let mut files = Vec::new();
    for path in listing.split('\0').filter(|path| !path.is_empty()) {
        let Ok(bytes) = std::fs::read(root.join(path)) else { continue };
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(TextFile { path: path.to_owned(), text });
        }
    }
    files.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(files)
}

/// `cargo metadata` of the workspace, with the dependencies of this machine's platform alone.
pub(crate) fn cargo_metadata(root: &Path) -> Result<Value, String> {
    let version = shell::output(&mut shell::command(root, "rustc", &["-vV"]))?;
    let host =
        version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc -vV names no host")?.to_owned();
    let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", &host];
    let text = shell::output(&mut shell::command(root, "cargo", &arguments))?;
    serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))
}
