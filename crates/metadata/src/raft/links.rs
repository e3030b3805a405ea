//! Requests under way: at most one to each node, and a pause after one that failed.
//!
//! A change of role or epoch forgets them all, so an answer that comes too late finds nothing that it belongs to.
//!
//! Source: `RequestManager`.

use milena_base::Millis;
use milena_protocol::NodeId;

/// What a node was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Vote,
    BeginQuorumEpoch,
    EndQuorumEpoch,
    Fetch,
    FetchSnapshot,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Given up at `until`.
    InFlight { correlation: u64, asked: Asked },
    /// It may be asked again at `until`.
    BackingOff,
}

#[derive(Debug)]
struct Link {
    node: NodeId,
    state: State,
    until: Millis,
}

/// All links that are not idle.
#[derive(Debug, Default)]
pub(crate) struct Links {
    busy: Vec<Link>,
    correlation: u64,
}

impl Links {
    pub(crate) fn reset(&mut self) {
        self.busy.clear();
    }

    /// Whether the node may be asked something.
    pub(crate) fn is_ready(&self, node: NodeId, now: Millis) -> bool {
        !self.busy.iter().any(|link| link.node == node && link.until > now)
    }

    /// Whether the node failed, and it is not long ago; or did not answer in time.
    pub(crate) fn has_failed(&self, node: NodeId, now: Millis) -> bool {
        self.busy.iter().any(|link| {
            link.node == node
                && match link.state {
                    State::InFlight { .. } => link.until <= now,
                    State::BackingOff => link.until > now,
                }
        })
    }

    pub(crate) fn any_in_flight(&self, now: Millis) -> bool {
        self.busy.iter().any(|link| matches!(link.state, State::InFlight { .. }) && link.until > now)
    }

    /// Notes a request; returns the number that its answer will bear.
    pub(crate) fn sent(&mut self, node: NodeId, asked: Asked, until: Millis) -> u64 {
        self.correlation += 1;
        self.busy.retain(|link| link.node != node);
        self.busy.push(Link { node, state: State::InFlight { correlation: self.correlation, asked }, until });
        self.correlation
    }

    /// Who was asked what with this number; `None` if that was given up.
    pub(crate) fn answered(&mut self, number: u64) -> Option<(NodeId, Asked)> {
        let at = self
            .busy
            .iter()
            .position(|link| matches!(link.state, State::InFlight { correlation, .. } if correlation == number))?;
        let link = self.busy.swap_remove(at);
        match link.state {
            State::InFlight { asked, .. } => Some((link.node, asked)),
            State::BackingOff => None,
        }
    }

    pub(crate) fn back_off(&mut self, node: NodeId, until: Millis) {
        self.busy.retain(|link| link.node != node);
        self.busy.push(Link { node, state: State::BackingOff, until });
    }

    /// Gives up a request that was not answered in time.
    pub(crate) fn forget_expired(&mut self, node: NodeId, now: Millis) {
        self.busy.retain(|link| link.node != node || link.until > now);
    }

    /// When the next link becomes ready by itself.
    pub(crate) fn next_ready(&self, now: Millis) -> Option<Millis> {
        self.busy.iter().map(|link| link.until).filter(|until| *until > now).min()
    }
}
