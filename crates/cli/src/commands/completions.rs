//! `milena completions`: what a shell reads at its start, so that it asks this binary whenever somebody presses Tab.

use clap::ValueEnum;

use crate::completion;
use crate::failure::Failure;
use crate::output::Output;

/// Print a script with which a shell completes commands, and names of topics and groups
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which one; `source <(milena completions bash)` in its file of settings makes it so for good
    shell: Shell,
}

/// The shells that can do it.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let name = arguments.shell.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let no_script = |why: String| Failure::failed(format!("no script for {name}: {why}"));
    // By its path: the name alone may be another program's, or none's.
    let binary = std::env::current_exe().map_err(|error| no_script(error.to_string()))?;
    let shell = completion::SHELLS.completer(&name).ok_or_else(|| no_script("this shell is not known".to_owned()))?;
    let mut script = Vec::new();
    shell
        .write_registration(completion::VARIABLE, "milena", "milena", &binary.to_string_lossy(), &mut script)
        .map_err(|error| no_script(error.to_string()))?;
    output.line(String::from_utf8_lossy(&script).trim_end())
}
