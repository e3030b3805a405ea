//! Lines from files and stdin, read by a thread of its own, since reading waits. At most [`QUEUE_LINES`] and
//! [`QUEUE_BYTES`] wait to be worked on; then the reading waits too.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::failure::Failure;

/// A line without its line break.
pub(crate) struct Line {
    /// Counted from 1 in each file.
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
    /// Its place in the queue's memory.
    _room: OwnedSemaphorePermit,
}

/// How many lines may wait.
const QUEUE_LINES: usize = 4096;
/// How many bytes their lines may have, but for a single one that is longer.
const QUEUE_BYTES: usize = 64 << 20;
/// No broker takes a longer record, unless it is told to (`socket.request.max.bytes`).
const LINE_BYTES_MAX: usize = 100 << 20;

/// The lines of all `paths`, one file after the other; `-` and no path at all are stdin. To be called on a runtime.
pub(crate) fn lines(paths: &[String]) -> Result<mpsc::Receiver<Result<Line, Failure>>, Failure> {
    let stdin = ["-".to_owned()];
    let paths = if paths.is_empty() { &stdin[..] } else { paths };
    let sources = paths.iter().map(|path| open(path)).collect::<Result<Vec<_>, Failure>>()?;
    let (sender, receiver) = mpsc::channel(QUEUE_LINES);
    let queue = Queue { sender, room: Arc::new(Semaphore::new(QUEUE_BYTES)), runtime: Handle::current() };
    std::thread::spawn(move || {
        for (path, source) in sources {
            if read(&path, source, &queue).is_none() {
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
    let file = File::open(path).map_err(|error| Failure::unreadable(path, &error))?;
    Ok((path.to_owned(), Box::new(BufReader::new(file))))
}

/// Where lines wait.
struct Queue {
    sender: mpsc::Sender<Result<Line, Failure>>,
    room: Arc<Semaphore>,
    runtime: Handle,
}

impl Queue {
    /// `None` when nobody listens any more.
    fn put(&self, number: u64, bytes: Vec<u8>) -> Option<()> {
        let wanted = bytes.len().min(QUEUE_BYTES) as u32;
        let taken = self.runtime.block_on(async {
            tokio::select! {
                room = Arc::clone(&self.room).acquire_many_owned(wanted) => room.ok(),
                () = self.sender.closed() => None,
            }
        });
        self.sender.blocking_send(Ok(Line { number, bytes, _room: taken? })).ok()
    }
}

/// `None` when nobody listens any more or the source is broken.
fn read(path: &str, mut source: Box<dyn BufRead + Send>, queue: &Queue) -> Option<()> {
    for number in 1.. {
        let mut bytes = Vec::new();
        match source.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut bytes) {
            Ok(0) => break,
            Ok(_) if bytes.len() > LINE_BYTES_MAX => {
                let told = format!("{path}: line {number} is longer than {} MiB", LINE_BYTES_MAX >> 20);
                queue.sender.blocking_send(Err(Failure::failed(told))).ok();
                return None;
            }
            Ok(_) => {
                if bytes.last() == Some(&b'\n') {
                    bytes.pop();
                }
                if bytes.last() == Some(&b'\r') {
                    bytes.pop();
                }
                queue.put(number, bytes)?;
            }
            Err(error) => {
                queue.sender.blocking_send(Err(Failure::unreadable(path, &error))).ok();
                return None;
            }
        }
    }
    Some(())
}
