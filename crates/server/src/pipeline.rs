//! Produce requests of one connection whose records are appended and whose answers wait for the device. The next
//! Produce is appended meanwhile, so that one flush serves several of them; answers leave in the order of requests.
//!
//! ```text
//! append A ── append B ── append C        one flush makes B and C durable
//!          └─ A's flush ─┴─ answer A ─ ... ─ answer B, answer C
//! ```

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::task::Poll;

use milena_base::Disk;

use crate::dispatch::{Later, Outcome};

/// Requests that may wait; a producer has five in flight by default.
const REQUESTS_MAX: usize = 16;
/// Bytes of the requests that may wait. A larger request goes alone.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a connection owes its peer, oldest first.
pub(crate) struct Pipeline<D: Disk> {
    waiting: VecDeque<Waiting<D>>,
    size_bytes: usize,
}

struct Waiting<D: Disk> {
    later: Later<D>,
    size_bytes: usize,
}

impl<D: Disk> Pipeline<D> {
    pub(crate) fn new() -> Pipeline<D> {
        Pipeline { waiting: VecDeque::new(), size_bytes: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether another Produce may be appended before the first of these is answered.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < REQUESTS_MAX && self.size_bytes < BYTES_MAX
    }

    /// Adds the newest request; `size_bytes` is the size of its frame.
    pub(crate) fn push(&mut self, later: Later<D>, size_bytes: usize) {
        self.size_bytes += size_bytes;
        self.waiting.push_back(Waiting { later, size_bytes });
    }

    /// What became of the oldest request, once that is known; never while there is none. May be dropped and called
    /// again: nothing is lost.
    pub(crate) async fn first(&mut self) -> Outcome<D> {
        let Some(first) = self.waiting.front_mut() else { return pending().await };
        let outcome = first.later.as_mut().await;
        self.size_bytes -= first.size_bytes;
        self.waiting.pop_front();
        outcome
    }

    /// [`Pipeline::first`] if that is known already.
    pub(crate) async fn finished(&mut self) -> Option<Outcome<D>> {
        let mut first = std::pin::pin!(self.first());
        poll_fn(|context| match first.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use milena_disk::MemoryDisk;
    use tokio::sync::oneshot;

    use super::*;

    fn closing(outcome: &Outcome<MemoryDisk>) -> &str {
        match outcome {
            Outcome::Close(reason) => reason,
            _ => panic!("only closes here"),
        }
    }

    #[tokio::test]
    async fn a_later_answer_waits_for_an_earlier_one() {
        let mut pipeline = Pipeline::<MemoryDisk>::new();
        let (sender, receiver) = oneshot::channel();
        pipeline.push(Box::pin(async { Outcome::Close(receiver.await.expect("sent")) }), 1);
        pipeline.push(Box::pin(ready(Outcome::Close("second".to_owned()))), 1);
        assert!(pipeline.finished().await.is_none());
        sender.send("first".to_owned()).expect("it is waited for");
        assert_eq!(closing(&pipeline.first().await), "first");
        assert_eq!(closing(&pipeline.first().await), "second");
        assert!(pipeline.is_empty());
    }

    #[tokio::test]
    async fn requests_and_their_bytes_are_bounded() {
        let mut pipeline = Pipeline::<MemoryDisk>::new();
        for _ in 0..REQUESTS_MAX {
            assert!(pipeline.has_room());
            pipeline.push(Box::pin(ready(Outcome::Silence)), 1);
        }
        assert!(!pipeline.has_room(), "as many as allowed");
        while pipeline.finished().await.is_some() {}
        pipeline.push(Box::pin(ready(Outcome::Silence)), BYTES_MAX);
        assert!(!pipeline.has_room(), "as large as allowed");
        assert!(pipeline.finished().await.is_some() && pipeline.has_room());
    }
}
