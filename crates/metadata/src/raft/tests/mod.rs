//! The machine alone, event by event, and several of them in a network of our own.

mod network;
mod single;

use milena_protocol::messages::VotersRecord;

use super::*;
use crate::format::standalone_voters;

fn directory(node: i32) -> Uuid {
    Uuid([node as u8; 16])
}

fn options(node: i32) -> Options {
    Options {
        cluster_id: "cluster".into(),
        node: NodeId(node),
        directory: directory(node),
        endpoints: Vec::new(),
        election_timeout_ms: 1000,
        fetch_timeout_ms: 2000,
        request_timeout_ms: 2000,
        retry_backoff_ms: 20,
        seed: node as u64,
    }
}

fn voters_record(nodes: &[i32]) -> VotersRecord {
    let records = nodes.iter().map(|node| {
        let port = 9093 + *node as u16;
        standalone_voters(NodeId(*node), directory(*node), "CONTROLLER", "localhost", port)
    });
    VotersRecord { version: 0, voters: records.flat_map(|record| record.voters).collect() }
}

/// A directory that was just formatted.
fn start(voters: VotersRecord) -> Start {
    Start {
        state: None,
        log_start: Offset(0),
        log_end: Offset(0),
        epochs: Vec::new(),
        snapshot: None,
        static_voters: Vec::new(),
        voters: vec![(Offset(-1), voters)],
    }
}
