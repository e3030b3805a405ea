//! An account of memory that is reserved before it is used, by request frames and by work on records. Up to
//! [`FREE_BYTES`] are free. While nothing is left, whoever needs more waits, and no other is affected.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Up to this size no reservation is needed.
pub const FREE_BYTES: usize = 64 * 1024;
/// The account counts in units of this size, so that a quarter of any machine's memory fits its counter.
const UNIT_BYTES: usize = 4 * 1024;

/// Memory that many may take together.
#[derive(Debug)]
pub struct Account {
    units: Arc<Semaphore>,
    units_max: usize,
}

/// Memory set aside; given back on drop.
#[derive(Debug)]
pub struct Reservation {
    _permit: OwnedSemaphorePermit,
}

/// Memory on its way. It keeps its place in the queue as long as it is kept.
pub enum Reserving {
    /// It is there; `None` where none is needed.
    Granted(Option<Reservation>),
    /// Others have it.
    Waiting(Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>),
}

impl Reserving {
    /// Waits until the memory is there. May be stopped and asked again.
    pub async fn granted(&mut self) {
        if let Reserving::Waiting(permit) = self {
            let permit = permit.await.expect("the semaphore is never closed");
            *self = Reserving::Granted(Some(Reservation { _permit: permit }));
        }
    }

    /// What was granted; `None` where none is needed, or nothing was granted yet.
    pub fn into_reservation(self) -> Option<Reservation> {
        match self {
            Reserving::Granted(reservation) => reservation,
            Reserving::Waiting(_) => None,
        }
    }

    /// Waits until the memory is there, and takes it.
    pub async fn reservation(mut self) -> Option<Reservation> {
        self.granted().await;
        self.into_reservation()
    }
}

impl Account {
    /// An account of `size_bytes`.
    pub fn new(size_bytes: usize) -> Account {
        let units_max = size_bytes.div_ceil(UNIT_BYTES).min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        Account { units: Arc::new(Semaphore::new(units_max)), units_max }
    }

    /// Asks for `size_bytes`. Who asks is served in order, so that nobody is passed over for ever; who asks for more than
    /// there is gets all of it.
    pub fn reserve(&self, size_bytes: usize) -> Reserving {
        if size_bytes <= FREE_BYTES {
            return Reserving::Granted(None);
        }
        let units = size_bytes.div_ceil(UNIT_BYTES).min(self.units_max) as u32;
        match Arc::clone(&self.units).try_acquire_many_owned(units) {
            Ok(permit) => Reserving::Granted(Some(Reservation { _permit: permit })),
            Err(_) => Reserving::Waiting(Box::pin(Arc::clone(&self.units).acquire_many_owned(units))),
        }
    }

    /// Bytes reserved now.
    pub fn reserved_bytes(&self) -> usize {
        (self.units_max - self.units.available_permits()) * UNIT_BYTES
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn what_is_dropped_is_free_again() {
        let account = Account::new(1 << 20);
        let first = account.reserve(1 << 20).reservation().await;
        assert_eq!(account.reserved_bytes(), 1 << 20);
        let mut second = pin!(account.reserve(FREE_BYTES + 1).reservation());
        let waits = poll_fn(|context| Poll::Ready(second.as_mut().poll(context).is_pending())).await;
        assert!(waits, "nothing is left");
        drop(first);
        assert!(second.await.is_some());
    }

    #[tokio::test]
    async fn more_than_there_is_goes_alone() {
        let account = Account::new(1 << 20);
        let small = account.reserve(FREE_BYTES + 1).reservation().await;
        let mut large = pin!(account.reserve(1 << 30).reservation());
        let waits = poll_fn(|context| Poll::Ready(large.as_mut().poll(context).is_pending())).await;
        assert!(waits, "another one has some");
        drop(small);
        assert!(large.await.is_some());
    }

    #[tokio::test]
    async fn a_little_is_free() {
        let account = Account::new(0);
        assert!(account.reserve(FREE_BYTES).reservation().await.is_none());
    }
}
