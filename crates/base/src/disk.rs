//! The door between a log and the machine's files. Logs are generic over [`Disk`]; the real one, the memory
//! one and the faulty one live in `milena-disk`, and nobody else calls the file system.

use std::io;
use std::path::Path;

use crate::Millis;

/// A directory tree of files.
///
/// Implementations MUST behave like a POSIX file system: a rename replaces its target atomically; names and
/// lengths survive a crash once the file and its directory were flushed ([`DiskFile::flush`], [`Disk::flush_dir`]);
/// anything else may or may not.
pub trait Disk: Clone + Send + Sync + 'static {
    /// An open file. Dropping it closes it.
    type File: DiskFile;

    /// Opens for reading and writing; creates an empty file where there is none.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// Opens for reading and writing. Errors with `NotFound` where there is no file.
    fn open_existing(&self, path: &Path) -> io::Result<Self::File>;

    /// Opens like [`Disk::open`] and takes the file's exclusive lock, held until the file is dropped. `None` where
    /// another process (or another open file) holds it.
    fn open_locked(&self, path: &Path) -> io::Result<Option<Self::File>>;

    /// What a directory holds, sorted by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;

    /// Creates a directory and its parents; one that exists already is no error.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Renames a file or directory, replacing a file that has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Errors with `NotFound` where there is none.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and all in it.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Makes creations, renames and removals directly inside `dir` durable.
    fn flush_dir(&self, dir: &Path) -> io::Result<()>;

    /// The room of the file system that `dir` is on.
    fn space(&self, dir: &Path) -> io::Result<Space>;
}

/// The room of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total_bytes: u64,
    /// What this process may still write.
    pub usable_bytes: u64,
}

/// One open file. All positions are absolute; there is no cursor, so that one file serves many readers.
pub trait DiskFile: Send + Sync + 'static {
    /// Length in bytes.
    fn size_bytes(&self) -> io::Result<u64>;

    /// When the contents last changed.
    fn modified(&self) -> io::Result<Millis>;

    /// Says when the contents last changed, where they are a copy of older ones.
    fn set_modified(&self, at: Millis) -> io::Result<()>;

    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Like [`DiskFile::read_at`], but `None` instead of waiting for the device. May return fewer bytes than asked.
    fn read_cached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<Option<usize>>;

    /// Writes all of `bytes`, growing the file as needed.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;

    /// Cuts or extends (with zeros) to exactly `size_bytes`.
    fn truncate(&self, size_bytes: u64) -> io::Result<()>;

    /// Makes contents and length durable. After an error the file's durable state is unknown and
    /// the caller MUST NOT try again.
    fn flush(&self) -> io::Result<()>;
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The last part of the path. Names that are not UTF-8 are not listed: we never write such.
    pub name: String,
    /// Directory or file.
    pub is_dir: bool,
}

/// Reads a whole small file (checkpoints, property files).
pub fn read_file<D: Disk>(disk: &D, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open_existing(path)?;
    let mut contents = vec![0; file.size_bytes()? as usize];
    let read = file.read_at(&mut contents, 0)?;
    contents.truncate(read);
    Ok(contents)
}

/// Replaces a small file so that a crash leaves either the old or the new contents, never a mixture:
/// write `PATH.tmp`, flush it, rename it, flush the directory.
pub fn replace_file<D: Disk>(disk: &D, path: &Path, contents: &[u8]) -> io::Result<()> {
    replace_file_by(disk, path, ".tmp", contents)
}

/// Like [`replace_file`], with another ending for the unfinished file.
pub fn replace_file_by<D: Disk>(disk: &D, path: &Path, unfinished: &str, contents: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(unfinished);
    let temporary = Path::new(&temporary);
    let file = disk.open(temporary)?;
    file.truncate(0)?;
    file.write_at(contents, 0)?;
    file.flush()?;
    drop(file);
    disk.rename(temporary, path)?;
    match path.parent() {
        Some(dir) => disk.flush_dir(dir),
        None => Ok(()),
    }
}
