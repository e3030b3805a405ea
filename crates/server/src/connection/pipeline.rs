//! Requests of one connection that are done and not answered yet, in their order.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use milena_base::Disk;

use crate::dispatch::{Later, Outcome};

/// At so many nothing more is read from the connection.
const REQUESTS_MAX: usize = 16;
/// At so many bytes of requests nothing more is read from the connection.
const BYTES_MAX: usize = 8 << 20;

/// Answers to come. Their requests' frames are gone; the bytes are counted as what one connection may have unflushed.
pub(super) struct Pipeline<D: Disk> {
    later: VecDeque<(Later<D>, usize)>,
    bytes: usize,
}

impl<D: Disk> Default for Pipeline<D> {
    fn default() -> Pipeline<D> {
        Pipeline { later: VecDeque::new(), bytes: 0 }
    }
}

impl<D: Disk> Pipeline<D> {
    /// Whether another request may begin.
    pub(super) fn has_room(&self) -> bool {
        self.later.len() < REQUESTS_MAX && self.bytes < BYTES_MAX
    }

    /// Whether every request is answered.
    pub(super) fn is_empty(&self) -> bool {
        self.later.is_empty()
    }

    /// Adds the answer to a request of `size_bytes`.
    pub(super) fn push(&mut self, later: Later<D>, size_bytes: usize) {
        self.bytes += size_bytes;
        self.later.push_back((later, size_bytes));
    }

    /// The oldest answer, when it is ready; waits for ever where there is none. Nothing is lost if it is not waited for
    /// to the end.
    pub(super) async fn next(&mut self) -> Outcome<D> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The oldest answer if it is ready now.
    pub(super) async fn ready(&mut self) -> Option<Outcome<D>> {
        poll_fn(|context| match self.poll_next(context) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Outcome<D>> {
        let Some((oldest, size_bytes)) = self.later.front_mut() else { return Poll::Pending };
        let outcome = ready!(oldest.as_mut().poll(context));
        self.bytes -= *size_bytes;
        self.later.pop_front();
        Poll::Ready(outcome)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use milena_disk::MemoryDisk;

    use super::*;

    fn answered(with: &str) -> Later<MemoryDisk> {
        Box::pin(ready(Outcome::Close(with.to_owned())))
    }

    #[tokio::test]
    async fn a_later_answer_does_not_overtake_one_that_is_not_ready() {
        let (first, wait) = tokio::sync::oneshot::channel();
        let mut pipeline = Pipeline::default();
        pipeline.push(Box::pin(async { Outcome::Close(wait.await.expect("sent")) }), 1);
        pipeline.push(answered("second"), 1);
        assert!(pipeline.ready().await.is_none());
        first.send("first".to_owned()).expect("it waits");
        for expected in ["first", "second"] {
            assert!(matches!(pipeline.next().await, Outcome::Close(said) if said == expected));
        }
        assert!(pipeline.is_empty());
    }

    #[tokio::test]
    async fn requests_and_bytes_are_bounded() {
        let mut pipeline: Pipeline<MemoryDisk> = Pipeline::default();
        for _ in 0..REQUESTS_MAX {
            assert!(pipeline.has_room());
            pipeline.push(Box::pin(pending()), 1);
        }
        assert!(!pipeline.has_room());
        let mut pipeline = Pipeline::default();
        pipeline.push(answered("large"), BYTES_MAX);
        assert!(!pipeline.has_room());
        assert!(pipeline.ready().await.is_some());
        assert!(pipeline.has_room());
    }
}
