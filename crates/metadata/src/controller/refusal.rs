//! Why something was not done: a code and a text, for one item of a request.

use milena_protocol::ErrorCode;

use crate::configs::ConfigError;

/// An error code with the text that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    /// `None` where Kafka sends no text.
    pub(super) message: Option<String>,
}

impl Refusal {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { code, message: Some(message.into()) }
    }

    pub(super) fn bare(code: ErrorCode) -> Refusal {
        Refusal { code, message: None }
    }
}

impl From<ConfigError> for Refusal {
    fn from(error: ConfigError) -> Refusal {
        Refusal::new(error.code, error.message)
    }
}

/// The code and text of an item's answer.
pub(super) fn answer(result: Result<(), Refusal>) -> (i16, Option<String>) {
    match result {
        Ok(()) => (0, None),
        Err(refusal) => (refusal.code.number(), refusal.message),
    }
}
