//! The voters: given once by the settings (`controller.quorum.voters`), or written into the log and its snapshots
//! (KIP-853). The newest VotersRecord counts as soon as it is in the log, committed or not; cutting it off brings the
//! one before back.

use milena_protocol::messages::VotersRecord;
use milena_protocol::messages::voters_record;
use milena_protocol::{NodeId, Offset, Uuid};

/// Where a voter is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of the listener.
    pub listener: String,
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Endpoint {
    pub(crate) fn to_record(&self) -> voters_record::Endpoint {
        voters_record::Endpoint { name: self.listener.clone(), host: self.host.clone(), port: self.port }
    }
}

/// A voter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    /// Its id.
    pub id: NodeId,
    /// Its directory; zero where not known (static quorums).
    pub directory: Uuid,
    /// Where it is reached.
    pub endpoints: Vec<Endpoint>,
}

impl Voter {
    /// Whether this voter is the given replica. A directory that is not known fits every one.
    pub(crate) fn is(&self, id: NodeId, directory: Uuid) -> bool {
        self.id == id && (self.directory == directory || self.directory == Uuid::ZERO || directory == Uuid::ZERO)
    }
}

/// Every set of voters that the log still may fall back to.
#[derive(Debug)]
pub(crate) struct Voters {
    /// With the offset of each, oldest first; −1 for the snapshot that a format writes.
    records: Vec<(Offset, VotersRecord)>,
    in_force: Vec<Voter>,
    fixed: Vec<Voter>,
    /// Those of a snapshot that is about to replace the log.
    expected: Option<VotersRecord>,
}

impl Voters {
    pub(crate) fn new(fixed: Vec<Voter>, records: Vec<(Offset, VotersRecord)>) -> Voters {
        let mut voters = Voters { records, in_force: Vec::new(), fixed, expected: None };
        voters.refresh();
        voters
    }

    pub(crate) fn in_force(&self) -> &[Voter] {
        &self.in_force
    }

    /// The newest record and its offset; `None` in a quorum with fixed voters (`kraft.version` 0).
    pub(crate) fn newest(&self) -> Option<&(Offset, VotersRecord)> {
        self.records.last()
    }

    pub(crate) fn add(&mut self, offset: Offset, record: VotersRecord) {
        self.records.push((offset, record));
        self.refresh();
    }

    /// Forgets what the log no longer holds.
    pub(crate) fn truncate(&mut self, end: Offset) {
        self.records.retain(|(offset, _)| *offset < end);
        self.refresh();
    }

    /// A snapshot with these voters was fetched.
    pub(crate) fn expect(&mut self, voters: Option<VotersRecord>) {
        self.expected = voters;
    }

    /// It took the log's place; its last record has this offset.
    pub(crate) fn replace(&mut self, offset: Offset) {
        self.records = self.expected.take().map(|voters| (offset, voters)).into_iter().collect();
        self.refresh();
    }

    fn refresh(&mut self) {
        self.in_force = match self.records.last() {
            Some((_, record)) => record.voters.iter().map(from_record).collect(),
            None => self.fixed.clone(),
        };
    }
}

fn from_record(voter: &voters_record::Voter) -> Voter {
    let endpoint = |endpoint: &voters_record::Endpoint| Endpoint {
        listener: endpoint.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
    };
    Voter {
        id: NodeId(voter.voter_id),
        directory: voter.voter_directory_id,
        endpoints: voter.endpoints.iter().map(endpoint).collect(),
    }
}
