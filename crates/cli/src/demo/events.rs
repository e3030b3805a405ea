//! Made-up events: who did what, from where and when. The same at every run.

use bytes::Bytes;
use milena_base::Random;

/// An event ready to be sent.
pub(super) struct MadeUp {
    pub(super) user_id: String,
    pub(super) json: Bytes,
}

/// Makes up events without end.
pub(super) struct Events {
    random: Random,
    /// Milliseconds since 1970; the first event is at 2025-10-16T14:07:00Z.
    time_ms: i64,
}

impl Events {
    pub(super) fn new() -> Events {
        Events { random: Random::from_seed(1883), time_ms: 1_760_623_620_000 }
    }
}

impl Iterator for Events {
    type Item = MadeUp;

    fn next(&mut self) -> Option<MadeUp> {
        let kind = KINDS[self.random.below(KINDS.len() as u64) as usize];
        // The smaller of two draws: some users are busier than others.
        let user = self.random.below(USERS).min(self.random.below(USERS));
        let host = self.random.below(254) + 1;
        self.time_ms += self.random.below(5) as i64;
        let time = jiff::Timestamp::from_millisecond(self.time_ms).unwrap_or_default();
        let user_id = format!("u-{user}");
        let json =
            format!(r#"{{"event_type":"{kind}","user_id":"{user_id}","ip":"203.0.113.{host}","ts":"{time:.3}"}}"#);
        Some(MadeUp { user_id, json: json.into() })
    }
}

/// What users do.
const KINDS: [&str; 6] = ["user_login", "user_logout", "page_view", "search", "add_to_cart", "purchase"];
/// How many users there are.
const USERS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_json_and_the_same_at_every_run() {
        let first: Vec<Bytes> = Events::new().take(100).map(|event| event.json).collect();
        let second: Vec<Bytes> = Events::new().take(100).map(|event| event.json).collect();
        assert_eq!(first, second);
        for (event, json) in Events::new().zip(first) {
            let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(value["user_id"], event.user_id);
            assert!(value["ts"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        }
    }
}
