//! Asks shards for what may be answered at length: a shard says what an answer would take before it makes it, and the
//! memory is reserved meanwhile. Neither waits for the other: the thread of the coordinators goes on at once, and whoever
//! asked comes again when there is room.

use milena_protocol::ErrorCode;
use tokio::sync::oneshot;

use super::Kind;
use super::door::{Bound, Question, Shards};
use crate::growing::{ANSWER_BYTES_MAX, Growing, Refused};
use crate::world::World;

/// How often a shard is asked for the same: it may hold more each time.
const TRIES: usize = 3;
/// Several names that take more than this together are asked for in halves: only one name may wait for much memory.
const SEVERAL_BYTES_MAX: usize = 128 * 1024;

impl<W: World, S: Kind<W>> Shards<W, S>
where
    S::Context: Clone,
{
    /// One part of an answer that grows.
    ///
    /// # Errors
    /// If there is no room for it.
    pub async fn ask_growing(
        &self,
        partition: i32,
        context: &S::Context,
        request: &S::Request,
        growing: &mut Growing<'_>,
    ) -> Result<S::Response, Refused> {
        self.ask_up_to(ANSWER_BYTES_MAX, partition, context, request, growing).await
    }

    /// Asks for several names, each of which is a part of its own. A part for which there is no room is refused alone.
    pub(crate) async fn ask_names<T>(
        &self,
        (partition, names): (i32, Vec<String>),
        context: &S::Context,
        growing: &mut Growing<'_>,
        request: impl Fn(Vec<String>) -> S::Request,
        parts: impl Fn(S::Response) -> Vec<T>,
    ) -> Vec<T> {
        let (mut answered, mut left) = (Vec::with_capacity(names.len()), vec![names]);
        while let Some(mut names) = left.pop() {
            let most_bytes = if names.len() > 1 { SEVERAL_BYTES_MAX } else { ANSWER_BYTES_MAX };
            let asked = request(names.clone());
            match self.ask_up_to(most_bytes, partition, context, &asked, growing).await {
                Ok(response) => answered.extend(parts(response)),
                Err(_) if names.len() > 1 => {
                    left.push(names.split_off(names.len() / 2));
                    left.push(names);
                }
                Err(refused) => answered.extend(parts(S::failure(&asked, S::version(context), code(refused)))),
            }
        }
        answered
    }

    /// Refuses what takes more than `most_bytes` without looking for room.
    async fn ask_up_to(
        &self,
        most_bytes: usize,
        partition: i32,
        context: &S::Context,
        request: &S::Request,
        growing: &mut Growing<'_>,
    ) -> Result<S::Response, Refused> {
        for _ in 0..TRIES {
            match self.ask_within(growing.left_bytes(), partition, context.clone(), request).await {
                Ok((response, bytes)) => {
                    growing.made(bytes);
                    return Ok(response);
                }
                Err(bytes) if bytes > most_bytes && most_bytes < ANSWER_BYTES_MAX => return Err(Refused::Full),
                Err(bytes) => growing.reserve(bytes).await?,
            }
        }
        Err(Refused::NoRoom)
    }

    /// The answer and what it takes on the wire, or that alone if it takes more than `within_bytes`.
    async fn ask_within(
        &self,
        within_bytes: usize,
        partition: i32,
        context: S::Context,
        request: &S::Request,
    ) -> Result<(S::Response, usize), usize> {
        let version = S::version(&context);
        let (weighed, mut weight) = oneshot::channel();
        let bound = Some(Bound { within_bytes, weighed });
        let answer = self.put(partition, Question { bound, ..Question::new(context, request.clone()) }).await;
        let bytes = weight.try_recv().unwrap_or(0);
        match answer {
            Ok(response) => Ok((response, bytes)),
            Err(_) if bytes > within_bytes => Err(bytes),
            Err(error) => Ok((S::failure(request, version, error), 0)),
        }
    }
}

/// What a part is answered that is not made. Kafka's clients ask again for what is loading, and for nothing else.
pub(crate) fn code(refused: Refused) -> ErrorCode {
    match refused {
        Refused::NoRoom | Refused::Full => ErrorCode::CoordinatorLoadInProgress,
        Refused::TooLarge => ErrorCode::InvalidRequest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_room_later_is_asked_for_again_and_what_never_will_is_not() {
        assert_eq!([Refused::NoRoom, Refused::Full].map(code), [ErrorCode::CoordinatorLoadInProgress; 2]);
        assert_eq!(code(Refused::TooLarge), ErrorCode::InvalidRequest);
    }
}
