//! Turns the texts in `definitions/` into Rust: one module per message, and the table of APIs.

#![expect(clippy::disallowed_methods, reason = "this program runs while the crate is built, and reads its definitions")]

// The library publishes the same file, and uses all of it.
#[path = "../src/definition.rs"]
#[allow(unreachable_pub, dead_code)]
mod definition;
mod emit;
mod prove;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use definition::Definition;

fn main() {
    println!("cargo::rerun-if-changed=definitions");
    println!("cargo::rerun-if-changed=generator");
    println!("cargo::rerun-if-changed=src/definition.rs");
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("definitions");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    let mut files = Vec::new();
    files_below(&root, &mut files);
    files.sort();
    // What no node serves yet costs a build nothing, unless it is asked for.
    let all = env::var_os("CARGO_FEATURE_ALL_MESSAGES").is_some();
    let (unserved, files): (Vec<PathBuf>, Vec<PathBuf>) =
        files.into_iter().partition(|file| file.starts_with(root.join("unserved")));
    let definitions: Vec<Definition> = files.iter().map(|file| read(file)).collect();
    write(&out.join("messages.rs"), &emit::messages(&definitions, all));
    if all {
        let unserved: Vec<Definition> = unserved.iter().map(|file| read(file)).collect();
        assert_defined_once(definitions.iter().chain(&unserved));
        write(&out.join("unserved.rs"), &emit::unserved(&unserved));
    }
    write(&out.join("apis.rs"), &emit::apis(&definitions));
    let sources: String = files.iter().map(|file| format!("include_str!({file:?}),\n")).collect();
    write(&out.join("sources.rs"), &format!("&[\n{sources}]\n"));
}

fn assert_defined_once<'a>(definitions: impl Iterator<Item = &'a Definition>) {
    let mut names = BTreeSet::new();
    for message in definitions.flat_map(|definition| &definition.messages) {
        let name = &message.name;
        assert!(names.insert(name), "{name} is defined twice: once it is served, its text moves out of `unserved`");
    }
}

fn files_below(dir: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    for entry in entries {
        let path = entry.expect("a readable directory").path();
        if path.is_dir() {
            files_below(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn read(file: &Path) -> Definition {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    definition::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn write(file: &Path, text: &str) {
    fs::write(file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}
