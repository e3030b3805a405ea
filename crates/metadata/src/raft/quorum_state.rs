//! The file `quorum-state`: what this node has promised (JSON, versions 0 and 1).
//!
//! ```text
//! {"leaderId":1,"leaderEpoch":3,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}
//! ```
//!
//! Source: `FileQuorumStateStore`, `QuorumStateData`.

use milena_protocol::{LeaderEpoch, NodeId, Uuid};
use serde_json::{Value, json};

/// The promises of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumState {
    /// The current epoch.
    pub epoch: LeaderEpoch,
    /// Its leader, if known.
    pub leader: Option<NodeId>,
    /// Whom this node voted for in the epoch, with the directory (zero where not known).
    pub voted: Option<(NodeId, Uuid)>,
    /// Voters, in version 0 only.
    pub static_voters: Vec<NodeId>,
}

/// Why the file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("quorum-state cannot be read: {0}")]
pub struct QuorumStateError(pub String);

impl QuorumState {
    /// The file's contents: version 1 where `kraft_version` is 1, else 0.
    pub fn to_json(&self, kraft_version: i16) -> String {
        let id = |node: Option<NodeId>| node.unwrap_or(NodeId::NONE).0;
        let (leader, epoch, voted) = (id(self.leader), self.epoch.0, id(self.voted.map(|(node, _)| node)));
        let state = match kraft_version {
            1 => {
                let directory = self.voted.map_or(Uuid::ZERO, |(_, directory)| directory).to_string();
                json!({
                    "leaderId": leader, "leaderEpoch": epoch, "votedId": voted, "votedDirectoryId": directory,
                    "data_version": 1,
                })
            }
            _ => {
                let voters: Vec<Value> = self.static_voters.iter().map(|voter| json!({"voterId": voter.0})).collect();
                json!({
                    "clusterId": "", "leaderId": leader, "leaderEpoch": epoch, "votedId": voted, "appliedOffset": 0,
                    "currentVoters": voters, "data_version": 0,
                })
            }
        };
        state.to_string()
    }

    /// Reads the file's contents.
    pub fn parse(text: &str) -> Result<QuorumState, QuorumStateError> {
        let refused = |reason: String| QuorumStateError(reason);
        let state: Value = serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
        let number = |of: &Value, field: &str| {
            let number = of[field].as_i64().and_then(|number| i32::try_from(number).ok());
            number.ok_or_else(|| refused(format!("{field} is not a number of 32 bits")))
        };
        let node = |field: &str| number(&state, field).map(|id| (id >= 0).then_some(NodeId(id)));
        let mut parsed = QuorumState {
            epoch: LeaderEpoch(number(&state, "leaderEpoch")?),
            leader: node("leaderId")?,
            voted: None,
            static_voters: Vec::new(),
        };
        let directory = match number(&state, "data_version")? {
            0 => {
                let voters = state["currentVoters"].as_array().into_iter().flatten();
                parsed.static_voters =
                    voters.map(|voter| number(voter, "voterId").map(NodeId)).collect::<Result<_, _>>()?;
                Uuid::ZERO
            }
            1 => {
                let directory = state["votedDirectoryId"].as_str().and_then(Uuid::parse);
                directory.ok_or_else(|| refused("votedDirectoryId is not an id".to_string()))?
            }
            version => return Err(refused(format!("version {version} is not known"))),
        };
        parsed.voted = node("votedId")?.map(|node| (node, directory));
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kafka_wrote_is_written_back_byte_for_byte() {
        let voted = r#"{"leaderId":-1,"leaderEpoch":2,"votedId":1,"votedDirectoryId":"J8aAPcfLQt2bqs1JT_rMgQ","data_version":1}"#;
        let led = r#"{"leaderId":1,"leaderEpoch":3,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}"#;
        let fixed = concat!(
            r#"{"clusterId":"","leaderId":2,"leaderEpoch":5,"votedId":-1,"appliedOffset":0,"#,
            r#""currentVoters":[{"voterId":1},{"voterId":2}],"data_version":0}"#
        );
        for (text, version) in [(voted, 1), (led, 1), (fixed, 0)] {
            let state = QuorumState::parse(text).expect("well formed");
            assert_eq!(state.to_json(version), text);
        }
    }

    #[test]
    fn what_is_no_promise_is_refused() {
        for text in ["", "{}", "[1]", r#"{"leaderId":1,"leaderEpoch":1,"votedId":-1,"data_version":2}"#] {
            assert!(QuorumState::parse(text).is_err(), "{text:?}");
        }
    }
}
