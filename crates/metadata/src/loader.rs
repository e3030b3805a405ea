//! From committed batches to images: what every broker runs. Records inside a metadata transaction
//! (`BeginTransaction` … `EndTransaction`, KIP-868) are held back until it ends.

use crate::delta::{Changes, ReplayError};
use crate::image::Image;
use crate::records::Batch;

/// Follows the committed part of the metadata log.
#[derive(Debug, Default)]
pub struct Loader {
    image: Image,
}

impl Loader {
    /// An empty cluster at offset 0.
    pub fn new() -> Loader {
        Loader::default()
    }

    /// Starts over from a snapshot's batches (see [`crate::snapshot::read`]); what changed is then everything.
    pub fn load_snapshot(&mut self, snapshot: &crate::snapshot::Snapshot) -> Result<(), ReplayError> {
        todo!()
    }

    /// Takes the next committed batch. After an error the image stays as it was before the batch.
    pub fn replay(&mut self, batch: &Batch) -> Result<(), ReplayError> {
        todo!()
    }

    /// The image after all batches so far, and what changed since the last call.
    pub fn publish(&mut self) -> (Image, Changes) {
        todo!()
    }

    /// The last published image.
    pub fn image(&self) -> &Image {
        &self.image
    }
}
