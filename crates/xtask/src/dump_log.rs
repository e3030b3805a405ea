//! Kafka's own `kafka-dump-log` reads every file of a data directory: what Milena writes, Kafka must be able to take
//! over. Run it after the node has stopped.

use crate::counts;
use crate::interop;
use crate::repository;
use crate::shell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the tool can read.
const ENDINGS: [&str; 6] = ["log", "index", "timeindex", "txnindex", "snapshot", "checkpoint"];

/// The metadata log, committed offsets, transactional ids, everything else.
const DECODERS: [&str; 4] =
    ["--cluster-metadata-decoder", "--offsets-decoder", "--transaction-log-decoder", "--print-data-log"];

/// Partitions that one run of the tool reads: starting it takes longer than reading.
const TOGETHER: usize = 50;

/// How the tool shows a record of an internal topic that it could not take apart.
const DECODER_FAULTS: [&str; 3] = ["payload: Error at ", "payload: Unknown record type ", "Failed to decode"];

pub(crate) fn dump_log(arguments: &[&str]) -> Result<(), String> {
    let data = match arguments {
        [] => interop::data_directories()?,
        [directory] => vec![PathBuf::from(directory)],
        _ => return Err("interop dump-log [DIRECTORY]".to_owned()),
    };
    let libraries = libraries()?;
    counts::announce("interop-dump-log");
    let (mut passed, mut failed) = (0, 0);
    let folders = data.iter().map(|data| partition_folders(data)).collect::<Result<Vec<_>, _>>()?.concat();
    for decoder in DECODERS {
        let same: Vec<&PathBuf> = folders.iter().filter(|folder| decoder_of(folder) == decoder).collect();
        for together in same.chunks(TOGETHER) {
            if read_folders(&libraries, together, decoder).is_ok() {
                println!("ok     {decoder}: {} partitions", together.len());
                passed += together.len();
                continue;
            }
            // Once more, one by one, to name what is wrong.
            for folder in together {
                match read_folders(&libraries, &[folder], decoder) {
                    Ok(()) => passed += 1,
                    Err(complaint) => {
                        println!("FAILED {}: {complaint}", folder.display());
                        failed += 1;
                    }
                }
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed > 0 || passed == 0 { Err("Kafka's dump-log complains".to_owned()) } else { Ok(()) }
}

/// The jars of Apache Kafka, fetched by its own build tool.
fn libraries() -> Result<String, String> {
    let root = repository::root();
    let mut command = shell::command(&root, "bash", &["interop/java/libraries"]);
    command.env("CACHE", interop::cache());
    Ok(shell::output(&mut command)?.trim().to_owned())
}

fn partition_folders(data: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(data).map_err(|error| format!("{}: {error}", data.display()))?;
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_dir() && !path.extension().is_some_and(|end| end.to_string_lossy().ends_with("delete")))
        .collect();
    folders.sort();
    Ok(folders)
}

/// The option with which the tool takes the records of this partition apart.
fn decoder_of(folder: &Path) -> &'static str {
    match folder.file_name().map(|name| name.to_string_lossy()).unwrap_or_default().as_ref() {
        "__cluster_metadata-0" => DECODERS[0],
        name if name.starts_with("__consumer_offsets-") => DECODERS[1],
        name if name.starts_with("__transaction_state-") => DECODERS[2],
        _ => DECODERS[3],
    }
}

fn read_folders(libraries: &str, folders: &[&PathBuf], decoder: &str) -> Result<(), String> {
    let mut files = Vec::new();
    for folder in folders {
        let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        files.extend(paths.filter(|path| is_readable(path)).map(|path| path.display().to_string()));
    }
    if files.is_empty() {
        return Ok(());
    }
    files.sort();
    let mut command = Command::new("java");
    command.args(["-Xmx512m", "-cp", libraries, "org.apache.kafka.tools.DumpLogSegments", "--deep-iteration", decoder]);
    command.args(["--files", &files.join(",")]).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("could not start java: {error}"))?;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if let Some(complaint) = complaint(&said, &complained) {
        return Err(complaint.to_owned());
    }
    if !output.status.success() {
        return Err(format!("{}: {}", output.status, complained.lines().last().unwrap_or_default()));
    }
    Ok(())
}

/// Whether the tool reads this kind of file. An index that holds nothing is written as nothing, and the tool wants at
/// least one entry.
fn is_readable(path: &Path) -> bool {
    let known = path.extension().is_some_and(|end| ENDINGS.contains(&end.to_string_lossy().as_ref()));
    known && path.metadata().is_ok_and(|metadata| metadata.len() > 0)
}

/// The first complaint: the tool ends with code 0 all the same. What it finds wrong between the files it says on stderr,
/// next to its library's INFO lines; what is wrong within a file stands in the dump.
fn complaint<'a>(said: &'a str, complained: &'a str) -> Option<&'a str> {
    let chatter = |line: &&str| line.trim().is_empty() || line.contains(" INFO ") || line.starts_with("SLF4J");
    let inside = |line: &&str| {
        let is_batch = line.starts_with("baseOffset:") && line.contains("isvalid: false");
        let is_tail = line.starts_with("Found ") && line.contains(" invalid bytes ");
        is_batch || is_tail || DECODER_FAULTS.iter().any(|fault| line.starts_with('|') && line.contains(fault))
    };
    complained.lines().find(|line| !chatter(line)).or_else(|| said.lines().find(inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Dumping x\nbaseOffset: 0 lastOffset: 1 isvalid: true\n| offset: 0 payload: isvalid: false\n";

    #[test]
    fn a_dump_without_faults_is_no_complaint() {
        assert_eq!(complaint(GOOD, "[main] INFO started\n\n"), None);
    }

    #[test]
    fn a_batch_that_is_not_valid_is_a_complaint() {
        let bad = format!("{GOOD}baseOffset: 2 isvalid: false\n");
        assert_eq!(complaint(&bad, ""), Some("baseOffset: 2 isvalid: false"));
        assert!(complaint("Found 12 invalid bytes at the end of x.log\n", "").is_some());
    }

    #[test]
    fn an_index_that_does_not_match_its_log_is_a_complaint() {
        assert_eq!(complaint(GOOD, "Mismatches in :x.index\n"), Some("Mismatches in :x.index"));
    }

    #[test]
    fn a_record_that_the_decoder_does_not_know_is_a_complaint() {
        assert!(complaint("| offset: 3 payload: Error at 3, skipping. Unknown\n", "").is_some());
    }
}
