//! A member of a classic group, and the requests that it waits in.

use bytes::Bytes;
use milena_protocol::messages::join_group_request::JoinGroupRequestProtocol;

use crate::ReplyTo;

/// A request that is answered later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parked {
    pub(super) to: ReplyTo,
    pub(super) version: i16,
}

/// Source: `ClassicGroupMember`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    /// `group.instance.id`: makes the member static (KIP-345).
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    /// What it offers, the most wanted first.
    pub(super) protocols: Vec<JoinGroupRequestProtocol>,
    pub(super) assignment: Bytes,
    pub(super) join: Option<Parked>,
    pub(super) sync: Option<Parked>,
    /// In its first join: a longer limit holds, and waiting is no sign of life.
    pub(super) is_new: bool,
}

impl Member {
    /// What it said under that protocol.
    pub(super) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let offered = self.protocols.iter().find(|offered| Some(offered.name.as_str()) == protocol);
        offered.map(|offered| offered.metadata.clone()).unwrap_or_default()
    }

    /// The names of its protocols.
    pub(super) fn offers(&self) -> impl Iterator<Item = &str> {
        self.protocols.iter().map(|offered| offered.name.as_str())
    }

    /// Whether a silent member is excused: whoever waits for us cannot send heartbeats.
    pub(super) fn is_excused(&self) -> bool {
        !self.is_new && (self.join.is_some() || self.sync.is_some())
    }
}
