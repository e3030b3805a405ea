//! Members of classic groups on the raw wire. A connection answers one request at a time, so the members of one group
//! need a connection each; members of different groups can share it.

use crate::faults::line::Line;
use crate::faults::wire::{CREATE_TOPICS, FIND_COORDINATOR, HEARTBEAT, JOIN_GROUP, Reader, Writer};
use std::time::Duration;

const OFFSET_COMMIT: i16 = 8;
const LEAVE_GROUP: i16 = 13;
const SYNC_GROUP: i16 = 14;
const LIST_GROUPS: i16 = 16;

pub(super) const NONE: i16 = 0;
pub(super) const UNKNOWN_MEMBER_ID: i16 = 25;
pub(super) const REBALANCE_IN_PROGRESS: i16 = 27;
/// COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR: it still reads its log.
pub(super) const COORDINATOR_ERRORS: std::ops::RangeInclusive<i16> = 14..=16;

/// A broker that is silent for so long has failed.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// The topic that members read and commit in.
pub(super) const TOPIC: &str = "load";

/// The answer to a join.
#[derive(Debug, Clone, Default)]
pub(super) struct Joined {
    pub(super) error: i16,
    pub(super) generation: i32,
    pub(super) member: String,
    /// Known to the leader alone.
    pub(super) members: Vec<String>,
}

/// Who asks, and for how long it may be silent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sessions {
    pub(super) session_ms: i32,
    pub(super) rebalance_ms: i32,
}

/// Connects to a broker.
pub(super) fn connect(address: &str) -> Result<Line, String> {
    Line::open(address, ANSWER_LIMIT)
}

impl Line {
    pub(super) fn send_join(&mut self, group: &str, member: &str, sessions: Sessions) -> Result<(), String> {
        let subscription = Writer::default().i16(1).i32(1).string(TOPIC).i32(-1).i32(0);
        let body = Writer::default().string(group).i32(sessions.session_ms).i32(sessions.rebalance_ms);
        let body = body.string(member).string("consumer").i32(1).string("range");
        self.send(JOIN_GROUP, 3, sized(body, &subscription.0))
    }

    pub(super) fn receive_join(&mut self) -> Result<Joined, String> {
        let frame = self.receive()?;
        read_join(&mut Reader(&frame)).ok_or_else(|| "an answer to JoinGroup that cannot be read".to_owned())
    }

    /// A leader's sync divides so many partitions, each member's in one piece.
    pub(super) fn send_sync(&mut self, group: &str, joined: &Joined, partitions: i32) -> Result<(), String> {
        let body = Writer::default().string(group).i32(joined.generation).string(&joined.member);
        let count = i32::try_from(joined.members.len()).expect("groups are small");
        let mut body = body.i32(count);
        for (at, member) in (0..).zip(&joined.members) {
            let (start, end) = (partitions * at / count, partitions * (at + 1) / count);
            let part = Writer::default().i16(1).i32(1).string(TOPIC).i32(end - start);
            let part = (start..end).fold(part, Writer::i32).i32(-1);
            body = sized(body.string(member), &part.0);
        }
        self.send(SYNC_GROUP, 2, body)
    }

    /// The error, and the partitions that are assigned.
    pub(super) fn receive_sync(&mut self) -> Result<(i16, Vec<i32>), String> {
        let frame = self.receive()?;
        read_sync(&mut Reader(&frame)).ok_or_else(|| "an answer to SyncGroup that cannot be read".to_owned())
    }

    pub(super) fn send_heartbeat(&mut self, group: &str, joined: &Joined) -> Result<(), String> {
        let body = Writer::default().string(group).i32(joined.generation).string(&joined.member);
        self.send(HEARTBEAT, 2, body)
    }

    /// The error of a heartbeat or a leave.
    pub(super) fn receive_error(&mut self) -> Result<i16, String> {
        let frame = self.receive()?;
        let mut reader = Reader(&frame);
        reader.i32().and_then(|_| reader.i16()).ok_or_else(|| "an answer that cannot be read".to_owned())
    }

    pub(super) fn leave(&mut self, group: &str, joined: &Joined) -> Result<(), String> {
        self.send(LEAVE_GROUP, 2, Writer::default().string(group).string(&joined.member))?;
        match self.receive_error()? {
            NONE => Ok(()),
            error => Err(format!("leaving {group} is answered {error}")),
        }
    }

    pub(super) fn send_commit(&mut self, group: &str, joined: &Joined, partition: i32) -> Result<(), String> {
        let body = Writer::default().string(group).i32(joined.generation).string(&joined.member);
        let body = body.i32(1).string(TOPIC).i32(1).i32(partition).i64(42).string("");
        self.send(OFFSET_COMMIT, 5, body)
    }

    /// The error of a commit of one partition.
    pub(super) fn receive_commit(&mut self) -> Result<i16, String> {
        let frame = self.receive()?;
        let mut reader = Reader(&frame);
        let read = |reader: &mut Reader<'_>| {
            reader.i32()?;
            reader.i32()?;
            reader.string()?;
            reader.i32()?;
            reader.i32()?;
            reader.i16()
        };
        read(&mut reader).ok_or_else(|| "an answer to OffsetCommit that cannot be read".to_owned())
    }

    /// How many groups the broker knows; `None` while it cannot say.
    pub(super) fn count_groups(&mut self) -> Result<Option<i32>, String> {
        let frame = self.ask(LIST_GROUPS, 1, Writer::default())?;
        let mut reader = Reader(&frame);
        let read = |reader: &mut Reader<'_>| {
            reader.i32()?;
            let error = reader.i16()?;
            Some((error == NONE).then_some(reader.i32()?))
        };
        read(&mut reader).ok_or_else(|| "an answer to ListGroups that cannot be read".to_owned())
    }

    /// Makes the topic, and waits until a coordinator can be asked.
    pub(super) fn prepare(&mut self, partitions: i32) -> Result<(), String> {
        let topic = Writer::default().i32(1).string(TOPIC).i32(partitions).i16(1).i32(0).i32(0);
        self.ask(CREATE_TOPICS, 2, topic.i32(30_000).i8(0))?;
        for _ in 0..300 {
            let frame = self.ask(FIND_COORDINATOR, 1, Writer::default().string("load").i8(0))?;
            let mut reader = Reader(&frame);
            let error = reader.i32().and_then(|_| reader.i16());
            if error == Some(NONE) && self.count_groups()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err("no coordinator in 30 s".to_owned())
    }
}

fn read_join(reader: &mut Reader<'_>) -> Option<Joined> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    reader.i32()?;
    let error = reader.i16()?;
    let generation = reader.i32()?;
    reader.string()?;
    let _leader = reader.string()?;
    let member = text(reader.string()?);
    let mut members = Vec::new();
    for _ in 0..reader.i32()? {
        members.push(text(reader.string()?));
        let size = usize::try_from(reader.i32()?).ok()?;
        reader.take(size)?;
    }
    Some(Joined { error, generation, member, members })
}

fn read_sync(reader: &mut Reader<'_>) -> Option<(i16, Vec<i32>)> {
    reader.i32()?;
    let error = reader.i16()?;
    if reader.i32()? <= 0 {
        return Some((error, Vec::new()));
    }
    let _version = reader.i16()?;
    let mut partitions = Vec::new();
    for _ in 0..reader.i32()? {
        let _topic = reader.string()?;
        for _ in 0..reader.i32()? {
            partitions.push(reader.i32()?);
        }
    }
    Some((error, partitions))
}

/// Bytes with their length in front.
fn sized(writer: Writer, bytes: &[u8]) -> Writer {
    writer.i32(i32::try_from(bytes.len()).expect("our own bytes are few")).bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read() {
        let part = Writer::default().i16(1).i32(1).string(TOPIC).i32(2).i32(4).i32(5).i32(-1);
        let answer = sized(Writer::default().i32(0).i16(NONE), &part.0);
        assert_eq!(read_sync(&mut Reader(&answer.0)), Some((NONE, vec![4, 5])));
        let refused = sized(Writer::default().i32(0).i16(REBALANCE_IN_PROGRESS), &[]);
        assert_eq!(read_sync(&mut Reader(&refused.0)), Some((REBALANCE_IN_PROGRESS, Vec::new())));
        assert_eq!(read_sync(&mut Reader(&answer.0[..20])), None);
    }
}
