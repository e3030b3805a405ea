//! A file system in memory that knows which of its contents a power failure would leave.
//!
//! ```text
//! a file:       pages now ──flush──▶ pages on the device        sparse: pages never written are zeros
//! a directory:  names now ──flush_dir──▶ names on the device
//! ```
//! [`MemoryDisk::crash`] throws away what is only "now", or lets chance keep parts of it, as a real device does.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use milena_base::disk::{Entry, Space};
use milena_base::{Disk, DiskFile, Millis, Random};
use parking_lot::Mutex;

const PAGE_BYTES: usize = 4096;

type Page = Arc<[u8; PAGE_BYTES]>;

/// A file system in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    tree: Arc<Mutex<Tree>>,
}

#[derive(Debug, Default)]
struct Tree {
    files: BTreeMap<PathBuf, MemoryFile>,
    /// Names of files that a crash leaves.
    durable_files: BTreeMap<PathBuf, MemoryFile>,
    dirs: BTreeSet<PathBuf>,
    /// Directories in which nothing may be opened, made or listed.
    denied: BTreeSet<PathBuf>,
    /// Dead where nobody holds the lock.
    locks: BTreeMap<PathBuf, Weak<()>>,
    now: Arc<Mutex<Millis>>,
    room: Room,
    changes: Changes,
}

/// Bytes by which files may still grow; `None` for no bound.
type Room = Arc<Mutex<Option<u64>>>;

/// What becomes of changes; shared by all files that were opened since the last crash.
#[derive(Debug, Clone, Default)]
struct Changes(Arc<Device>);

#[derive(Debug, Default)]
struct Device {
    /// Changes that still happen; `None` for no bound.
    left: Mutex<Option<u64>>,
    /// No flush of a file succeeds any more.
    is_broken: AtomicBool,
}

impl Changes {
    fn take(&self) -> io::Result<()> {
        match &mut *self.0.left.lock() {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the machine is off")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn take_flush(&self) -> io::Result<()> {
        self.take()?;
        match self.0.is_broken.load(Ordering::Relaxed) {
            true => Err(io::Error::other("the device is broken")),
            false => Ok(()),
        }
    }
}

/// An open file in memory. Clones are the same file.
#[derive(Debug, Clone)]
pub struct MemoryFile {
    contents: Arc<Mutex<Contents>>,
    /// Kept by whoever opened the file locked.
    _lock: Option<Arc<()>>,
    now: Arc<Mutex<Millis>>,
    room: Room,
    changes: Changes,
}

#[derive(Debug, Default, Clone)]
struct Contents {
    size_bytes: u64,
    pages: BTreeMap<u64, Page>,
    modified: Millis,
    durable_size_bytes: u64,
    durable_pages: BTreeMap<u64, Page>,
    /// Pages that differ, or may differ, from the durable ones.
    dirty: BTreeSet<u64>,
}

impl MemoryDisk {
    /// An empty file system at time 0.
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// Sets the time that changed files get.
    pub fn set_now(&self, now: Millis) {
        *self.tree.lock().now.lock() = now;
    }

    /// Lets files grow by so many bytes in all, and no further (`StorageFull`); `None` lifts the bound.
    pub fn set_room(&self, bytes: Option<u64>) {
        *self.tree.lock().room.lock() = bytes;
    }

    /// Refuses (or grants again) everybody what is in a directory, as if it belonged to somebody else.
    pub fn deny(&self, dir: &Path, deny: bool) {
        let denied = &mut self.tree.lock().denied;
        match deny {
            true => denied.insert(dir.to_owned()),
            false => denied.remove(dir),
        };
    }

    /// Lets so many changes of files and names happen; then every further one fails, as if the machine had stopped
    /// there. [`MemoryDisk::crash`] lifts the bound.
    pub fn stop_after(&self, changes: u64) {
        *self.tree.lock().changes.0.left.lock() = Some(changes);
    }

    /// Lets every flush of a file fail from now on.
    pub fn break_flushes(&self) {
        self.tree.lock().changes.0.is_broken.store(true, Ordering::Relaxed);
    }

    /// Loses power: names and contents that were not flushed are gone. Open files belong to the past: drop them.
    pub fn crash(&self) {
        self.crash_with(|_| false);
    }

    /// What a machine would find that lost power now, as a disk of its own: whoever uses this one goes on.
    pub fn after_power_loss(&self) -> MemoryDisk {
        let tree = self.tree.lock();
        let copy = Tree {
            files: tree.files.clone(),
            durable_files: tree.durable_files.clone(),
            dirs: tree.dirs.clone(),
            denied: tree.denied.clone(),
            locks: BTreeMap::new(),
            now: Arc::clone(&tree.now),
            room: Room::default(),
            changes: Changes::default(),
        };
        let disk = MemoryDisk { tree: Arc::new(Mutex::new(copy)) };
        disk.crash();
        disk
    }

    /// Loses power, but chance lets some of what was not flushed survive: whole names, single pages, lengths.
    pub fn crash_randomly(&self, random: &mut Random) {
        self.crash_with(|bound| random.below(bound) == 0);
    }

    /// `survives(n)` answers whether a thing that survives once in `n` times does so.
    fn crash_with(&self, mut survives: impl FnMut(u64) -> bool) {
        let mut tree = self.tree.lock();
        let mut names = tree.durable_files.clone();
        if survives(2) {
            names = tree.files.clone();
        }
        let (now, room) = (Arc::clone(&tree.now), Arc::clone(&tree.room));
        // Whoever still holds files of before keeps the old count: nothing that they do reaches this disk.
        tree.changes = Changes::default();
        let changes = tree.changes.clone();
        let mut left = BTreeMap::new();
        for (path, file) in names {
            let contents = file.contents.lock().after_crash(&mut survives);
            left.insert(
                path,
                MemoryFile {
                    contents: Arc::new(Mutex::new(contents)),
                    _lock: None,
                    now: Arc::clone(&now),
                    room: Arc::clone(&room),
                    changes: changes.clone(),
                },
            );
        }
        tree.durable_files = left.clone();
        tree.files = left;
    }

    /// Bytes by which the files that `is_meant` names are longer than a crash would leave them.
    pub fn unflushed_bytes(&self, is_meant: impl Fn(&Path) -> bool) -> u64 {
        let tree = self.tree.lock();
        let meant = tree.files.iter().filter(|(path, _)| is_meant(path));
        let unflushed = meant.map(|(_, file)| {
            let contents = file.contents.lock();
            contents.size_bytes.saturating_sub(contents.durable_size_bytes)
        });
        unflushed.sum()
    }

    /// Paths of all files, for tests.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.tree.lock().files.keys().cloned().collect()
    }
}

impl Tree {
    fn check_access(&self, path: &Path) -> io::Result<()> {
        match path.ancestors().any(|dir| self.denied.contains(dir)) {
            true => Err(io::ErrorKind::PermissionDenied.into()),
            false => Ok(()),
        }
    }
}

impl Contents {
    fn after_crash(&self, survives: &mut impl FnMut(u64) -> bool) -> Contents {
        let mut size_bytes = self.durable_size_bytes;
        let mut pages = self.durable_pages.clone();
        if survives(2) {
            size_bytes = self.size_bytes;
        }
        for dirty in &self.dirty {
            match self.pages.get(dirty) {
                Some(page) if survives(2) => pages.insert(*dirty, Arc::clone(page)),
                _ => None,
            };
        }
        let mut left = Contents { size_bytes, pages, modified: self.modified, ..Contents::default() };
        left.forget_behind(size_bytes);
        left.durable_size_bytes = left.size_bytes;
        left.durable_pages = left.pages.clone();
        left
    }

    fn read(&self, buffer: &mut [u8], position: u64) -> usize {
        let available = self.size_bytes.saturating_sub(position).min(buffer.len() as u64) as usize;
        let mut done = 0;
        while done < available {
            let (page, start, count) = span(position + done as u64, available - done);
            match self.pages.get(&page) {
                Some(contents) => buffer[done..done + count].copy_from_slice(&contents[start..start + count]),
                None => buffer[done..done + count].fill(0),
            }
            done += count;
        }
        available
    }

    fn write(&mut self, bytes: &[u8], position: u64) {
        let mut done = 0;
        while done < bytes.len() {
            let (page, start, count) = span(position + done as u64, bytes.len() - done);
            let contents = self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(contents)[start..start + count].copy_from_slice(&bytes[done..done + count]);
            self.dirty.insert(page);
            done += count;
        }
        self.size_bytes = self.size_bytes.max(position + bytes.len() as u64);
    }

    fn truncate(&mut self, size_bytes: u64) {
        self.size_bytes = size_bytes;
        self.forget_behind(size_bytes);
    }

    /// Bytes behind the end are zeros if the file grows again.
    fn forget_behind(&mut self, size_bytes: u64) {
        let (last, start, _) = span(size_bytes, 1);
        for gone in self.pages.split_off(&(last + u64::from(start > 0))).into_keys() {
            self.dirty.insert(gone);
        }
        if let Some(page) = self.pages.get_mut(&last) {
            Arc::make_mut(page)[start..].fill(0);
            self.dirty.insert(last);
        }
    }

    fn flush(&mut self) {
        self.durable_size_bytes = self.size_bytes;
        for page in std::mem::take(&mut self.dirty) {
            match self.pages.get(&page) {
                Some(contents) => self.durable_pages.insert(page, Arc::clone(contents)),
                None => self.durable_pages.remove(&page),
            };
        }
    }
}

/// The page of a position, the place in it, and how many of `wanted` bytes are on that page.
fn span(position: u64, wanted: usize) -> (u64, usize, usize) {
    let start = (position % PAGE_BYTES as u64) as usize;
    (position / PAGE_BYTES as u64, start, wanted.min(PAGE_BYTES - start))
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} does not exist", path.display()))
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn open(&self, path: &Path) -> io::Result<MemoryFile> {
        let mut tree = self.tree.lock();
        tree.check_access(path)?;
        if !path.parent().is_some_and(|dir| tree.dirs.contains(dir)) {
            return Err(not_found(path));
        }
        if !tree.files.contains_key(path) {
            tree.changes.take()?;
        }
        let (now, room, changes) = (Arc::clone(&tree.now), Arc::clone(&tree.room), tree.changes.clone());
        let created = || {
            let contents = Contents { modified: *now.lock(), ..Contents::default() };
            MemoryFile {
                contents: Arc::new(Mutex::new(contents)),
                _lock: None,
                now: Arc::clone(&now),
                room: Arc::clone(&room),
                changes: changes.clone(),
            }
        };
        Ok(tree.files.entry(path.to_owned()).or_insert_with(created).clone())
    }

    fn open_existing(&self, path: &Path) -> io::Result<MemoryFile> {
        let tree = self.tree.lock();
        tree.check_access(path)?;
        tree.files.get(path).cloned().ok_or_else(|| not_found(path))
    }

    fn open_locked(&self, path: &Path) -> io::Result<Option<MemoryFile>> {
        let file = self.open(path)?;
        let locks = &mut self.tree.lock().locks;
        if locks.get(path).is_some_and(|held| held.strong_count() > 0) {
            return Ok(None);
        }
        let lock = Arc::new(());
        locks.insert(path.to_owned(), Arc::downgrade(&lock));
        Ok(Some(MemoryFile { _lock: Some(lock), ..file }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let tree = self.tree.lock();
        tree.check_access(dir)?;
        if !tree.dirs.contains(dir) {
            return Err(not_found(dir));
        }
        let entry = |path: &PathBuf, is_dir| match (path.parent(), path.file_name()?.to_str()) {
            (Some(parent), Some(name)) if parent == dir => Some(Entry { name: name.to_owned(), is_dir }),
            _ => None,
        };
        let files = tree.files.keys().filter_map(|path| entry(path, false));
        let mut entries: Vec<Entry> = files.chain(tree.dirs.iter().filter_map(|path| entry(path, true))).collect();
        entries.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(entries)
    }

    /// Directories survive every crash: what is of interest are the files in them.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut tree = self.tree.lock();
        tree.check_access(dir)?;
        tree.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = self.tree.lock();
        tree.changes.take()?;
        if let Some(file) = tree.files.remove(from) {
            tree.files.insert(to.to_owned(), file);
            return Ok(());
        }
        if !tree.dirs.contains(from) {
            return Err(not_found(from));
        }
        let moved = |path: &Path| path.strip_prefix(from).map(|rest| to.join(rest)).unwrap_or_else(|_| path.to_owned());
        tree.dirs = tree.dirs.iter().map(|path| moved(path)).collect();
        tree.files = std::mem::take(&mut tree.files).into_iter().map(|(path, file)| (moved(&path), file)).collect();
        let durable = std::mem::take(&mut tree.durable_files);
        tree.durable_files = durable.into_iter().map(|(path, file)| (moved(&path), file)).collect();
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut tree = self.tree.lock();
        tree.changes.take()?;
        tree.files.remove(path).map(drop).ok_or_else(|| not_found(path))
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut tree = self.tree.lock();
        tree.changes.take()?;
        if !tree.dirs.contains(dir) {
            return Err(not_found(dir));
        }
        tree.dirs.retain(|path| !path.starts_with(dir));
        tree.files.retain(|path, _| !path.starts_with(dir));
        tree.durable_files.retain(|path, _| !path.starts_with(dir));
        Ok(())
    }

    fn flush_dir(&self, dir: &Path) -> io::Result<()> {
        let mut tree = self.tree.lock();
        tree.changes.take()?;
        let here = |path: &PathBuf| path.parent() == Some(dir);
        let now: Vec<(PathBuf, MemoryFile)> =
            tree.files.iter().filter(|(path, _)| here(path)).map(|(path, file)| (path.clone(), file.clone())).collect();
        tree.durable_files.retain(|path, _| !here(path));
        tree.durable_files.extend(now);
        Ok(())
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        let tree = self.tree.lock();
        let used_bytes = tree.files.values().map(|file| file.contents.lock().size_bytes).sum::<u64>();
        let usable_bytes = tree.room.lock().unwrap_or(u64::MAX);
        Ok(Space { total_bytes: usable_bytes.saturating_add(used_bytes), usable_bytes })
    }
}

impl DiskFile for MemoryFile {
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.contents.lock().size_bytes)
    }

    fn modified(&self) -> io::Result<Millis> {
        Ok(self.contents.lock().modified)
    }

    fn set_modified(&self, at: Millis) -> io::Result<()> {
        self.changes.take()?;
        self.contents.lock().modified = at;
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        Ok(self.contents.lock().read(buffer, position))
    }

    fn read_cached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<Option<usize>> {
        self.read_at(buffer, position).map(Some)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.changes.take()?;
        let mut contents = self.contents.lock();
        contents.modified = *self.now.lock();
        let growth = (position + bytes.len() as u64).saturating_sub(contents.size_bytes);
        let granted = self.take_room(growth);
        // As on a real disk, what still fits is written.
        contents.write(&bytes[..bytes.len() - (growth - granted) as usize], position);
        if granted < growth { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn truncate(&self, size_bytes: u64) -> io::Result<()> {
        self.changes.take()?;
        let mut contents = self.contents.lock();
        contents.modified = *self.now.lock();
        contents.truncate(size_bytes);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.changes.take_flush()?;
        self.contents.lock().flush();
        Ok(())
    }
}

impl MemoryFile {
    /// How many of `wanted` bytes the disk still has.
    fn take_room(&self, wanted: u64) -> u64 {
        match &mut *self.room.lock() {
            None => wanted,
            Some(room) => {
                let granted = wanted.min(*room);
                *room -= granted;
                granted
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> MemoryDisk {
        let disk = MemoryDisk::new();
        disk.create_dir_all(Path::new("/d")).unwrap();
        disk
    }

    fn contents(disk: &MemoryDisk, path: &str) -> Option<Vec<u8>> {
        milena_base::disk::read_file(disk, Path::new(path)).ok()
    }

    #[test]
    fn a_crash_leaves_what_was_flushed_and_nothing_else() {
        let disk = disk();
        let file = disk.open(Path::new("/d/f")).unwrap();
        file.write_at(b"flushed", 0).unwrap();
        file.flush().unwrap();
        disk.flush_dir(Path::new("/d")).unwrap();
        file.write_at(b"LOST and more", 0).unwrap();
        disk.open(Path::new("/d/unnamed")).unwrap().flush().unwrap();
        disk.crash();
        assert_eq!(contents(&disk, "/d/f").unwrap(), b"flushed");
        assert_eq!(contents(&disk, "/d/unnamed"), None);
    }

    #[test]
    fn a_stopped_machine_changes_nothing_until_it_has_crashed() {
        let disk = disk();
        let file = disk.open(Path::new("/d/f")).unwrap();
        disk.stop_after(3);
        file.write_at(b"one", 0).unwrap();
        file.flush().unwrap();
        disk.flush_dir(Path::new("/d")).unwrap();
        assert!(file.write_at(b"two", 0).is_err() && disk.remove_file(Path::new("/d/f")).is_err());
        disk.crash();
        assert_eq!(contents(&disk, "/d/f").unwrap(), b"one");
        disk.remove_file(Path::new("/d/f")).unwrap();
    }

    #[test]
    fn a_removed_name_comes_back_unless_its_directory_was_flushed() {
        let disk = disk();
        disk.open(Path::new("/d/f")).unwrap().flush().unwrap();
        disk.flush_dir(Path::new("/d")).unwrap();
        disk.remove_file(Path::new("/d/f")).unwrap();
        disk.crash();
        assert!(contents(&disk, "/d/f").is_some());
        disk.remove_file(Path::new("/d/f")).unwrap();
        disk.flush_dir(Path::new("/d")).unwrap();
        disk.crash();
        assert!(contents(&disk, "/d/f").is_none());
    }

    #[test]
    fn a_file_that_shrank_and_grew_holds_zeros_in_between() {
        let file = disk().open(Path::new("/d/f")).unwrap();
        file.write_at(&[7; 10_000], 0).unwrap();
        file.truncate(5).unwrap();
        file.truncate(9_000).unwrap();
        let mut buffer = vec![1; 20_000];
        assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 9_000);
        assert!(buffer[..5].iter().all(|byte| *byte == 7) && buffer[5..9_000].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_random_crash_never_changes_flushed_contents() {
        for seed in 0..50 {
            let disk = disk();
            let file = disk.open(Path::new("/d/f")).unwrap();
            file.write_at(&[1; 9_000], 0).unwrap();
            file.flush().unwrap();
            disk.flush_dir(Path::new("/d")).unwrap();
            file.write_at(&[2; 9_000], 9_000).unwrap();
            disk.crash_randomly(&mut Random::from_seed(seed));
            let left = contents(&disk, "/d/f").unwrap();
            assert!(left.len() >= 9_000 && left[..9_000].iter().all(|byte| *byte == 1), "seed {seed}");
        }
    }
}
