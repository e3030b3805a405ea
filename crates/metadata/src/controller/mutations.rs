//! Partitions that clients create and delete, against `controller_mutation_rate` (KIP-599).
//!
//! A strict caller is refused what comes after its tokens are gone; a permissive one, whose version has no word for that,
//! has it and is throttled. Tokens are soft: a new controller begins with all of them.
//!
//! Source: `ControllerMutationQuotaManager`, `StrictControllerMutationQuota`, `PermissiveControllerMutationQuota`.

use std::collections::BTreeMap;

use milena_base::Millis;
use milena_protocol::ErrorCode;

use super::refusal::Refusal;
use crate::image::Image;
use crate::quotas::{CONTROLLER_MUTATION_RATE, Limits, TokenBucket, Window};

/// Buckets that are not looked through for full ones.
const BUCKETS_FEW: usize = 1_000;

/// Who asks for partitions to be created or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The principal's name.
    pub user: String,
    /// The client id, empty where there is none.
    pub client_id: String,
    /// Whether it can be refused.
    pub is_strict: bool,
}

/// The tokens of clients with quotas.
#[derive(Debug, Default)]
pub(super) struct Mutations {
    /// Of the written image; `None` where it has to be asked again.
    limits: Option<Limits>,
    /// Those that are not full, by user and client id as far as these count.
    buckets: BTreeMap<(String, String), TokenBucket>,
}

/// What one request may change.
pub(super) struct Permits {
    tokens: Option<Tokens>,
    window: Window,
    now: Millis,
    is_strict: bool,
    throttle_ms: i64,
}

struct Tokens {
    owner: (String, String),
    bucket: TokenBucket,
    limit: f64,
}

impl Mutations {
    /// The quotas changed.
    pub(super) fn forget_limits(&mut self) {
        self.limits = None;
    }

    /// What the caller may change now; given back with [`Mutations::settle`].
    pub(super) fn permits(&mut self, image: &Image, window: Window, now: Millis, by: Option<&Caller>) -> Permits {
        let limits = self.limits.get_or_insert_with(|| Limits::new(image, CONTROLLER_MUTATION_RATE));
        let tokens = by.and_then(|by| {
            let owner = limits.owner(&by.user, &by.client_id);
            let limit = limits.limit(owner)?;
            let owner = (owner.user.to_owned(), owner.client_id.to_owned());
            let bucket = self.buckets.get(&owner).copied().unwrap_or_else(|| TokenBucket::new(window, now, limit));
            Some(Tokens { owner, bucket, limit })
        });
        Permits { tokens, window, now, is_strict: by.is_some_and(|by| by.is_strict), throttle_ms: 0 }
    }

    /// Takes back what is left. Answers for how long the caller is throttled, in milliseconds.
    pub(super) fn settle(&mut self, permits: Permits) -> i32 {
        let Permits { tokens, window, now, throttle_ms, .. } = permits;
        if let Some(Tokens { owner, mut bucket, limit }) = tokens {
            match bucket.is_full(window, now, limit) {
                true => drop(self.buckets.remove(&owner)),
                false => drop(self.buckets.insert(owner, bucket)),
            }
        }
        if self.buckets.len() > BUCKETS_FEW {
            self.forget_full(window, now);
        }
        i32::try_from(throttle_ms).unwrap_or(i32::MAX)
    }

    /// A full bucket is as a new one.
    fn forget_full(&mut self, window: Window, now: Millis) {
        let limits = self.limits.clone().unwrap_or_default();
        self.buckets.retain(|(user, client_id), bucket| {
            let limit = limits.limit(crate::quotas::Owner { user, client_id });
            limit.is_some_and(|limit| !bucket.is_full(window, now, limit))
        });
    }
}

impl Permits {
    /// Counts partitions that are about to be created or deleted.
    pub(super) fn take(&mut self, partitions: usize) -> Result<(), Refusal> {
        let (window, now) = (self.window, self.now);
        let Some(Tokens { bucket, limit, .. }) = &mut self.tokens else { return Ok(()) };
        if !self.is_strict {
            bucket.take(window, now, *limit, partitions as f64);
        }
        let throttle_ms = bucket.throttle_ms(window, now, *limit);
        if throttle_ms > 0 {
            self.throttle_ms = throttle_ms;
        }
        match self.is_strict {
            true if throttle_ms > 0 => {
                let message = "The throttling quota has been exceeded.";
                Err(Refusal::new(ErrorCode::ThrottlingQuotaExceeded, message))
            }
            true => {
                bucket.take(window, now, *limit, partitions as f64);
                Ok(())
            }
            false => Ok(()),
        }
    }
}
