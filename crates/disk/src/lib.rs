//! The files behind [`milena_base::Disk`]: [`RealDisk`] over the operating system's, [`MemoryDisk`] for tests,
//! which can lose what was not flushed. The file system of the machine is called here and nowhere else; it also says how
//! much memory there is.
//!
//! **Invariant:** no thread, no cache of its own: the page cache of the kernel is the cache.

mod memory;
mod memory_limit;
mod real;

pub use memory::{MemoryDisk, MemoryFile};
pub use memory_limit::memory_limit_bytes;
pub use real::{RealDisk, RealFile};
