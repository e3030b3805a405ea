//! What becomes of tasks that their owner waits for.

use tokio::task::JoinError;

/// What a task came to. A panic in it goes on here. A task that a runtime gave up, since that ends, comes to nothing: whoever
/// waits for it is given up as well.
pub(crate) async fn outcome<T>(joined: Result<T, JoinError>) -> T {
    match joined.map_err(JoinError::try_into_panic) {
        Ok(value) => value,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_given_up)) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[tokio::test]
    async fn a_task_that_is_given_up_is_no_panic_and_a_panic_is_one() {
        assert_eq!(outcome(tokio::spawn(async { 7 }).await).await, 7);
        let given_up = tokio::spawn(std::future::pending::<()>());
        given_up.abort();
        let waiting = pin!(outcome(given_up.await));
        assert_eq!(waiting.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
        let panicked = tokio::spawn(outcome(tokio::spawn(async { panic!("planned") }).await)).await;
        assert!(panicked.is_err_and(|error: JoinError| error.is_panic()));
    }
}
