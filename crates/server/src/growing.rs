//! The memory of one answer while it is made, part by part: reserved in the account of answers before the part is made.
//! A few bytes may ask for very much, a thousand groups with all their offsets, and thirty may ask at the same time.
//!
//! ```text
//!   part 1   free, as all of a small answer is: clients that ask for little never wait
//!   part 2   waits for room in turn: it holds nothing that others could wait for
//!   part 3   there is room, or it is refused; whoever holds some never waits for more, so no two wait for each other
//!   sent     what is encoded is all that is still held
//! ```
//!
//! What is refused for want of room the client may ask for again. An answer of which no part can be left out (a list) is
//! thrown away instead, and made again with all the room that it may need ([`Growing::start_over`]).

use crate::answers::{Answers, FREE_ANSWER_BYTES, Room};

/// The most that an answer takes on the wire. Kafka has no bound.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;
/// What is said of that where a text is said.
pub const TOO_LARGE: &str = "the answer would be too large: ask for less at a time";
/// What an answer takes while it is made for each byte on the wire: its values with their allocations, then the encoded
/// bytes beside them. The worst are partitions of Metadata, three lists of brokers each, with 5.6.
const MADE: usize = 6;
/// Room is taken in steps of so much.
const STEP_BYTES: usize = 1 << 20;

/// Why a part is not in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Others have the memory.
    NoRoom,
    /// The answer is as large as one may be.
    Full,
    /// The part alone is larger.
    TooLarge,
}

/// Others have the memory that an answer needs of which no part can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

/// An answer that is being made. All sizes are bytes on the wire.
#[derive(Debug)]
pub struct Growing<'a> {
    answers: &'a Answers,
    room: Option<Room>,
    made_bytes: usize,
    /// It has all that it may ever need.
    has_all: bool,
}

impl<'a> Growing<'a> {
    /// An empty answer, which holds nothing.
    pub fn new(answers: &'a Answers) -> Growing<'a> {
        Growing { answers, room: None, made_bytes: 0, has_all: false }
    }

    /// How large the next part may be without asking.
    pub fn left_bytes(&self) -> usize {
        let whole_bytes = self.room.as_ref().map_or(FREE_ANSWER_BYTES, |room| room.bytes() / MADE);
        whole_bytes.min(ANSWER_BYTES_MAX).saturating_sub(self.made_bytes)
    }

    /// Memory for a part of `part_bytes`. The first that is not free waits for it.
    ///
    /// # Errors
    /// If the part cannot be made now, or not in this answer, or in none.
    pub async fn reserve(&mut self, part_bytes: usize) -> Result<(), Refused> {
        let wire_bytes = self.made_bytes + part_bytes;
        if part_bytes > ANSWER_BYTES_MAX {
            return Err(Refused::TooLarge);
        }
        if wire_bytes > ANSWER_BYTES_MAX {
            return Err(Refused::Full);
        }
        if part_bytes <= self.left_bytes() {
            return Ok(());
        }
        let needed_bytes = wire_bytes * MADE;
        // Never more than there is, unless it is needed.
        let wanted_bytes = needed_bytes.next_multiple_of(STEP_BYTES).min(self.answers.size_bytes()).max(needed_bytes);
        let Some(room) = &mut self.room else {
            self.room = Some(self.answers.room(wanted_bytes).await);
            return Ok(());
        };
        if self.has_all {
            room.resize(wanted_bytes.max(room.bytes()));
            return Ok(());
        }
        let fits = room.grow(wanted_bytes) || room.grow(needed_bytes);
        if fits { Ok(()) } else { Err(Refused::NoRoom) }
    }

    /// A part was made for which there was room.
    pub fn made(&mut self, part_bytes: usize) {
        self.made_bytes += part_bytes;
    }

    /// [`Growing::reserve`] and [`Growing::made`] for an answer of which no part can be left out: whether it may have this
    /// part too, or is as large as it may be.
    ///
    /// # Errors
    /// If it is to be made again, see [`Growing::start_over`].
    pub async fn part(&mut self, part_bytes: usize) -> Result<bool, NoRoom> {
        match self.reserve(part_bytes).await {
            Ok(()) => {
                self.made(part_bytes);
                Ok(true)
            }
            Err(Refused::NoRoom) => Err(NoRoom),
            Err(Refused::Full | Refused::TooLarge) => Ok(false),
        }
    }

    /// Throws away what was made, and waits until the answer can have whatever it may need: the whole share, where that is
    /// less, and then it goes alone. After this no part is refused for want of room.
    pub async fn start_over(&mut self) {
        // In this order: whoever waits holds nothing.
        self.room = None;
        let most_bytes = (ANSWER_BYTES_MAX * MADE).min(self.answers.size_bytes());
        *self = Growing {
            answers: self.answers,
            room: Some(self.answers.room(most_bytes).await),
            made_bytes: 0,
            has_all: true,
        };
    }

    /// The room of an answer that was encoded to so many bytes; none where that is free.
    pub fn encoded(self, size_bytes: usize) -> Option<Room> {
        if size_bytes <= FREE_ANSWER_BYTES {
            return None;
        }
        let mut room = self.room.unwrap_or_else(|| self.answers.take(0));
        room.resize(size_bytes);
        Some(room)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// A part that is not free.
    const PART: usize = STEP_BYTES / MADE;

    #[tokio::test(start_paused = true)]
    async fn a_part_is_reserved_before_it_is_made_and_only_what_is_encoded_is_kept() {
        let answers = Answers::new(4 * STEP_BYTES);
        let mut growing = Growing::new(&answers);
        growing.reserve(1000).await.expect("free");
        growing.made(1000);
        assert_eq!(answers.held_bytes(), 0);
        growing.reserve(PART).await.expect("there is room");
        assert_eq!(answers.held_bytes(), 2 * STEP_BYTES, "in steps");
        growing.made(PART);
        let room = growing.encoded(PART + 1000);
        assert_eq!(answers.held_bytes(), PART + 1000);
        drop(room);
        assert_eq!(answers.held_bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_part_waits_for_room_and_no_other_does() {
        let answers = Answers::new(2 * STEP_BYTES);
        let held = answers.take(2 * STEP_BYTES);
        let mut growing = Growing::new(&answers);
        assert!(timeout(Duration::from_secs(1), growing.reserve(PART)).await.is_err(), "it waits");
        drop(held);
        growing.reserve(PART).await.expect("free again");
        growing.made(PART);
        let mut other = Growing::new(&answers);
        other.reserve(PART).await.expect("both find room");
        other.made(PART);
        for growing in [&mut growing, &mut other] {
            let refused = timeout(Duration::from_secs(1), growing.reserve(PART)).await.expect("it does not wait");
            assert_eq!(refused, Err(Refused::NoRoom), "each would wait for the other");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_has_a_bound_and_so_has_each_part() {
        let answers = Answers::new(1 << 30);
        let mut growing = Growing::new(&answers);
        assert_eq!(growing.reserve(ANSWER_BYTES_MAX + 1).await, Err(Refused::TooLarge));
        growing.reserve(ANSWER_BYTES_MAX).await.expect("just so");
        growing.made(ANSWER_BYTES_MAX);
        assert_eq!(growing.reserve(1).await, Err(Refused::Full));
        assert_eq!(growing.part(1).await, Ok(false));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_starts_over_waits_holding_nothing_and_then_finds_room_for_all_of_it() {
        let answers = Answers::new(2 * STEP_BYTES);
        let mut growing = Growing::new(&answers);
        assert_eq!(growing.part(PART).await, Ok(true));
        let slow = answers.take(STEP_BYTES);
        assert_eq!(growing.part(PART).await, Err(NoRoom));
        assert!(timeout(Duration::from_secs(1), growing.start_over()).await.is_err());
        assert_eq!(answers.held_bytes(), STEP_BYTES, "all of it is the slow reader's");
        drop(slow);
        growing.start_over().await;
        for _ in 0..8 {
            assert_eq!(growing.part(PART).await, Ok(true), "alone it may have more than the share");
        }
        assert!(answers.held_bytes() >= 8 * PART * MADE);
    }
}
