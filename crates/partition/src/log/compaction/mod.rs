//! Compaction: of all records with the same key the last one stays, and of a deleted key in the end nothing.
//!
//! ```text
//! log      |a=1 b=1 c=1 |a=2 d=1 b=2 |a=3 c=null | active ..          keys' last offsets, from the dirty part alone
//!           first dirty ^                                                 a → 6, d → 4, b → 5, c → 7
//! after    |        d=1 b=2 a=3 c=null |              | active ..          every offset is the one that it was
//! ```
//! A compaction goes through a log twice. First the dirty part: [`offset_map`] remembers where the last record of each key stands,
//! as far as its memory goes; what does not fit waits for the next round. Then the segments from the log's
//! start on, in groups ([`group`]) that become one segment each: what [`filter`] leaves of each batch is written to files that
//! end with `.cleaned`, flushed, and put into the place of the old ones ([`swap`]). How transactions ended is told by
//! [`decided`]; what there is to do, and for which log first, by [`plan`].
//!
//! [`Compaction`] is driven from outside, step by step and without the partition's lock, so that one can pause, pace and stop it:
//! producers and readers go on. It holds a bounded amount of memory: the map, one piece of a
//! segment before and after, and one batch inflated.
//!
//! Source: `LogCleaner`, `LogCleanerManager`, `Cleaner` in Kafka 4.3.1; KIP-98, KIP-354, KIP-534.

mod decided;
mod filter;
mod group;
mod md5;
mod offset_map;
mod plan;
mod run;
mod swap;

pub(crate) use filter::LastWritten;
pub use offset_map::MapLimits;
pub use plan::{Dirt, Reset, dirtiest};
pub use run::{Compacted, Compaction, Limits, Step};
