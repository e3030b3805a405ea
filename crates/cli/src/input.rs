//! Lines from files and stdin, read by a thread of its own, since reading waits. At most [`QUEUE_LINES`] wait to be
//! worked on; then the reading waits too.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use tokio::sync::mpsc;

use crate::failure::Failure;

/// A line without its line break.
pub(crate) struct Line {
    /// Counted from 1 in each file.
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
}

/// How many lines may wait.
const QUEUE_LINES: usize = 4096;

/// The lines of all `paths`, one file after the other; `-` and no path at all are stdin.
pub(crate) fn lines(paths: &[String]) -> Result<mpsc::Receiver<Result<Line, Failure>>, Failure> {
    let stdin = ["-".to_owned()];
    let paths = if paths.is_empty() { &stdin[..] } else { paths };
    let sources = paths.iter().map(|path| open(path)).collect::<Result<Vec<_>, Failure>>()?;
    let (sender, receiver) = mpsc::channel(QUEUE_LINES);
    std::thread::spawn(move || {
        for (path, source) in sources {
            if read(&path, source, &sender).is_none() {
                return;
            }
        }
    });
    Ok(receiver)
}

fn open(path: &str) -> Result<(String, Box<dyn BufRead + Send>), Failure> {
    if path == "-" {
        return Ok(("stdin".to_owned(), Box::new(BufReader::new(io::stdin()))));
    }
    let file = File::open(path).map_err(|error| Failure::io(format!("cannot read {path}"), &error))?;
    Ok((path.to_owned(), Box::new(BufReader::new(file))))
}

/// `None` when nobody listens any more or the source is broken.
fn read(path: &str, mut source: Box<dyn BufRead + Send>, sender: &mpsc::Sender<Result<Line, Failure>>) -> Option<()> {
    for number in 1.. {
        let mut bytes = Vec::new();
        match source.read_until(b'\n', &mut bytes) {
            Ok(0) => break,
            Ok(_) => {
                if bytes.last() == Some(&b'\n') {
                    bytes.pop();
                }
                if bytes.last() == Some(&b'\r') {
                    bytes.pop();
                }
                sender.blocking_send(Ok(Line { number, bytes })).ok()?;
            }
            Err(error) => {
                sender.blocking_send(Err(Failure::io(format!("cannot read {path}"), &error))).ok();
                return None;
            }
        }
    }
    Some(())
}
