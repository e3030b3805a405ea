//! Other programs, run from the root of the repository. A program that is not there is a failure that names it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// A command that starts in `directory`.
pub(crate) fn command(directory: &Path, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    command
}

/// Runs a command whose output belongs on our own terminal.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let name = name(command);
    let status = command.status().map_err(|error| format!("could not start {name}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{name} failed: {status}")) }
}

/// Runs a command and hands back what it wrote on stdout; its stderr goes to our own.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let name = name(command);
    let output =
        command.stderr(Stdio::inherit()).output().map_err(|error| format!("could not start {name}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{name} failed: {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{name} wrote something that is not UTF-8"))
}

/// Runs a command, and hands each line that it writes to `look` as it comes: those on stderr among those on stdout.
pub(crate) fn watch(command: &mut Command, mut look: impl FnMut(&str)) -> Result<(), String> {
    let name = name(command);
    let fail = |error: std::io::Error| format!("could not start {name}: {error}");
    let (lines, written) = std::io::pipe().map_err(fail)?;
    command.stdout(written.try_clone().map_err(fail)?).stderr(written);
    let mut child = command.spawn().map_err(fail)?;
    // The command holds the end into which its children write, and the lines would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for line in BufReader::new(lines).split(b'\n').map_while(Result::ok) {
        look(&String::from_utf8_lossy(&line));
    }
    let status = child.wait().map_err(|error| format!("{name}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{name} failed: {status}")) }
}

fn name(command: &Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let first = command.get_args().next().map(|argument| format!(" {}", argument.to_string_lossy()));
    program + &first.unwrap_or_default()
}
