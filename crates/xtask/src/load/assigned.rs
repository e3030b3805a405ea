//! Members of groups that the broker assigns (KIP-848) on the raw wire. Their heartbeats are answered at once, so any
//! number of members can share a connection.

use super::member::{NONE, TOPIC};
use crate::faults::line::Line;
use crate::faults::wire::{METADATA, Reader, Writer};
use std::time::Duration;

const CONSUMER_GROUP_HEARTBEAT: i16 = 68;
const REBALANCE_TIMEOUT_MS: i32 = 60_000;
/// How often a broker is asked for a topic that has just been made.
const ATTEMPTS: usize = 300;

/// A member and what it believes.
#[derive(Debug, Clone, Default)]
pub(super) struct Member {
    pub(super) id: String,
    /// Zero before it has joined, -1 when it leaves.
    pub(super) epoch: i32,
    pub(super) owned: Vec<i32>,
}

/// The answer to a heartbeat.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Beat {
    pub(super) error: i16,
    pub(super) epoch: i32,
    /// How long the member shall wait before the next.
    pub(super) interval: Duration,
    /// What the member shall own, if it was told.
    pub(super) partitions: Option<Vec<i32>>,
}

impl Member {
    /// Believes an answer; whether it owns something else now.
    pub(super) fn take_over(&mut self, beat: Beat) -> Result<bool, String> {
        if beat.error != NONE {
            return Err(format!("a heartbeat of {} is answered {}", self.id, beat.error));
        }
        self.epoch = beat.epoch;
        let Some(partitions) = beat.partitions else { return Ok(false) };
        let changed = self.owned != partitions;
        self.owned = partitions;
        Ok(changed)
    }
}

impl Line {
    pub(super) fn send_beat(&mut self, group: &str, topic: &[u8; 16], member: &Member) -> Result<(), String> {
        let joins = member.epoch == 0;
        // The header's tags come first.
        let body = compact(compact(Writer::default().i8(0), group), &member.id).i32(member.epoch);
        let body = body.varint(0).varint(0).i32(if joins { REBALANCE_TIMEOUT_MS } else { -1 });
        let body = if joins { compact(body.varint(2), TOPIC) } else { body.varint(0) };
        let mut body = body.varint(0).varint(0);
        if member.owned.is_empty() {
            body = body.varint(1);
        } else {
            let count = u32::try_from(member.owned.len()).expect("few") + 1;
            body = body.varint(2).bytes(topic).varint(count);
            body = member.owned.iter().fold(body, |body, partition| body.i32(*partition)).varint(0);
        }
        self.send(CONSUMER_GROUP_HEARTBEAT, 1, body.varint(0))
    }

    pub(super) fn receive_beat(&mut self) -> Result<Beat, String> {
        let frame = self.receive()?;
        read_beat(&mut Reader(&frame)).ok_or_else(|| "an answer to a heartbeat that cannot be read".to_owned())
    }

    /// The id of the topic that all groups read, which has just been made: the broker may have to hear of it yet.
    pub(super) fn topic_id(&mut self) -> Result<[u8; 16], String> {
        for _ in 0..ATTEMPTS {
            let body = compact(Writer::default().i8(0).varint(2).bytes(&[0; 16]), TOPIC);
            self.send(METADATA, 12, body.varint(0).i8(0).i8(0).varint(0))?;
            let frame = self.receive()?;
            let (error, id) =
                read_topic(&mut Reader(&frame)).ok_or("an answer to Metadata that cannot be read".to_owned())?;
            if error == NONE {
                return Ok(id);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(format!("topic {TOPIC} stays unknown"))
    }
}

fn compact(writer: Writer, text: &str) -> Writer {
    writer.varint(u32::try_from(text.len()).expect("short") + 1).bytes(text.as_bytes())
}

fn read_beat(reader: &mut Reader<'_>) -> Option<Beat> {
    reader.tags()?;
    reader.i32()?;
    let error = reader.i16()?;
    let _message = reader.compact()?;
    let _member = reader.compact()?;
    let epoch = reader.i32()?;
    let interval = Duration::from_millis(u64::try_from(reader.i32()?).unwrap_or(0));
    if reader.take(1)? == [0xff] {
        return Some(Beat { error, epoch, interval, partitions: None });
    }
    let mut partitions = Vec::new();
    for _ in 1..reader.varint()?.max(1) {
        let _topic = reader.take(16)?;
        for _ in 1..reader.varint()?.max(1) {
            partitions.push(reader.i32()?);
        }
        reader.tags()?;
    }
    Some(Beat { error, epoch, interval, partitions: Some(partitions) })
}

/// The error and the id of the only topic in an answer to Metadata.
fn read_topic(reader: &mut Reader<'_>) -> Option<(i16, [u8; 16])> {
    reader.tags()?;
    reader.i32()?;
    for _ in 1..reader.varint()? {
        let _id = reader.i32()?;
        let _host = reader.compact()?;
        let _port = reader.i32()?;
        let _rack = reader.compact()?;
        reader.tags()?;
    }
    let _cluster = reader.compact()?;
    let _controller = reader.i32()?;
    let _topics = reader.varint()?;
    let error = reader.i16()?;
    let _name = reader.compact()?;
    Some((error, reader.take(16)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_are_read_with_and_without_an_assignment() {
        let head = Writer::default().varint(0).i32(0).i16(0).varint(0).varint(2).bytes(b"m").i32(7).i32(5_000);
        let silent = head.clone().i8(-1).varint(0);
        let expected = Beat { error: 0, epoch: 7, interval: Duration::from_secs(5), partitions: None };
        assert_eq!(read_beat(&mut Reader(&silent.0)), Some(expected));
        let told = head.i8(1).varint(2).bytes(&[9; 16]).varint(3).i32(4).i32(6).varint(0).varint(0);
        assert_eq!(read_beat(&mut Reader(&told.0)).unwrap().partitions, Some(vec![4, 6]));
        assert_eq!(read_beat(&mut Reader(&told.0[..20])), None);
    }

    #[test]
    fn a_member_says_whether_it_owns_something_else() {
        let beat = |partitions| Beat { error: 0, epoch: 2, interval: Duration::ZERO, partitions };
        let mut member = Member::default();
        assert_eq!(member.take_over(beat(Some(vec![1]))), Ok(true));
        assert_eq!(member.take_over(beat(Some(vec![1]))), Ok(false));
        assert_eq!(member.take_over(beat(None)), Ok(false));
        assert_eq!((member.epoch, member.owned.as_slice()), (2, [1].as_slice()));
        assert!(member.take_over(Beat { error: 25, ..beat(None) }).is_err());
    }
}
