//! Fetch sessions (KIP-227): the broker remembers which partitions a client reads, so that a request names only
//! what changed and an answer holds only what has news. A partition that was read to its end is not read again until
//! it marks itself in the session's [`Watch`], or the client asks for something else of it.
//!
//! Source: `FetchSession.scala` (`FetchManager`, `IncrementalFetchContext`, `FetchSessionCache`).

use std::any::Any;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use milena_base::Millis;
use milena_protocol::messages::FetchRequest;
use milena_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use milena_protocol::messages::fetch_response::PartitionData;
use milena_protocol::{ErrorCode, Uuid};
use parking_lot::Mutex;

use crate::watch::Watch;

/// A session that was not used for this long may be pushed out by any other (trap 73).
const EVICT_AFTER: Millis = Millis(120_000);
/// Session epoch of a request without a session.
const FINAL_EPOCH: i32 = -1;
/// Session epoch of a request that wants a new session.
const INITIAL_EPOCH: i32 = 0;
/// Session id of "no session".
pub const NO_SESSION: i32 = 0;

/// A topic as the client names it: by name up to version 12, by id from 13 on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicKey {
    /// Empty when named by id.
    pub name: String,
    /// Zero when named by name.
    pub id: Uuid,
}

/// One partition to be read.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its topic.
    pub topic: TopicKey,
    /// Where to read, and how much.
    pub partition: FetchPartition,
    /// What stands for it in the reader's [`Watch`]: no other partition of the reader has it.
    pub slot: u64,
    /// Its place in the order of answers.
    pub place: u64,
}

/// What a request is, once its session is known.
#[derive(Debug)]
pub enum Context {
    /// No session: everything that was asked for is answered.
    Sessionless,
    /// Everything is answered, and a session is made of it if there is room.
    Full,
    /// Only news is answered.
    Incremental {
        /// The session.
        id: i32,
        /// Where its partitions say that they have news.
        watch: Arc<Watch>,
    },
}

/// What was read of a partition.
#[derive(Debug)]
pub struct Told {
    /// What was asked.
    pub wanted: Wanted,
    /// What it is answered.
    pub data: PartitionData,
    /// There is nothing more to read until the partition marks itself.
    pub is_at_end: bool,
}

/// Keeps a partition marking its slot for as long as it lives.
pub type Registration = Box<dyn Any + Send>;

/// A partition of a session.
type PartitionKey = (TopicKey, i32);

/// What was last told about a partition.
struct Known {
    slot: u64,
    /// Place in the session's order; partitions with data move to the end (trap 72).
    place: u64,
    partition: FetchPartition,
    /// `None` after an error, so that the next answer says it again (trap 71).
    high_watermark: Option<i64>,
    log_start: i64,
    registration: Option<Registration>,
}

struct Session {
    /// The epoch that the next request must carry.
    epoch: i32,
    by_id: bool,
    /// Of the last request: another one may see more of a partition.
    isolation_level: i8,
    created: Millis,
    used: Millis,
    /// The next slot, and the next place: neither is used twice.
    next: u64,
    known: HashMap<PartitionKey, Known>,
    by_slot: HashMap<u64, PartitionKey>,
    /// What the next request has to look at, by place.
    unread: BTreeMap<u64, PartitionKey>,
    watch: Arc<Watch>,
}

/// The sessions of a node, at most `max.incremental.fetch.session.cache.slots`.
pub struct Sessions {
    slots: usize,
    sessions: Mutex<HashMap<i32, Session>>,
}

impl Sessions {
    /// Room for `slots` sessions; 0 grants none.
    pub fn new(slots: usize) -> Sessions {
        Sessions { slots, sessions: Mutex::new(HashMap::new()) }
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a request wants to read, in which order; or why its session is not valid.
    pub fn begin(&self, request: &FetchRequest, by_id: bool, now: Millis) -> Result<(Context, Vec<Wanted>), ErrorCode> {
        if request.session_epoch == FINAL_EPOCH || request.session_epoch == INITIAL_EPOCH {
            if request.session_id != NO_SESSION {
                self.sessions.lock().remove(&request.session_id);
            }
            let context = if request.session_epoch == FINAL_EPOCH { Context::Sessionless } else { Context::Full };
            return Ok((context, wanted(&request.topics)));
        }
        let mut sessions = self.sessions.lock();
        let session = sessions.get_mut(&request.session_id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.by_id != by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        if session.epoch != request.session_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        session.forget(&request.forgotten_topics_data);
        session.remember(wanted(&request.topics));
        if session.known.is_empty() {
            sessions.remove(&request.session_id);
            return Ok((Context::Sessionless, Vec::new()));
        }
        if session.isolation_level != request.isolation_level {
            session.isolation_level = request.isolation_level;
            session.unread = session.known.iter().map(|(key, known)| (known.place, key.clone())).collect();
        }
        session.epoch = next_epoch(session.epoch);
        session.used = now;
        session.take_marked();
        let watch = Arc::clone(&session.watch);
        Ok((Context::Incremental { id: request.session_id, watch }, session.in_order()))
    }

    /// What was marked in a session since it was last looked at; nothing if the session is gone.
    pub fn marked(&self, id: i32) -> Vec<Wanted> {
        let mut sessions = self.sessions.lock();
        let Some(session) = sessions.get_mut(&id) else { return Vec::new() };
        session.take_marked().iter().map(|key| session.wanted(key)).collect()
    }

    /// Gives the registrations of a session to `refresh`, for each of `wanted`.
    pub fn register(&self, id: i32, wanted: &[Wanted], mut refresh: impl FnMut(&Wanted, &mut Option<Registration>)) {
        let mut sessions = self.sessions.lock();
        let Some(session) = sessions.get_mut(&id) else { return };
        for wanted in wanted {
            let key = session.by_slot.get(&wanted.slot);
            if let Some(known) = key.and_then(|key| session.known.get_mut(key)) {
                refresh(wanted, &mut known.registration);
            }
        }
    }

    /// Makes a session of a full fetch, if there is room for it. Returns its id or [`NO_SESSION`].
    pub fn grant(&self, answered: &[Told], request: &FetchRequest, by_id: bool, id: i32, now: Millis) -> i32 {
        let mut sessions = self.sessions.lock();
        if id == NO_SESSION || sessions.contains_key(&id) {
            return NO_SESSION;
        }
        if sessions.len() >= self.slots && !make_room(&mut sessions, answered.len(), now) {
            return NO_SESSION;
        }
        let mut session = Session {
            epoch: next_epoch(INITIAL_EPOCH),
            by_id,
            isolation_level: request.isolation_level,
            created: now,
            used: now,
            next: 0,
            known: HashMap::new(),
            by_slot: HashMap::new(),
            unread: BTreeMap::new(),
            watch: Arc::default(),
        };
        session.remember(answered.iter().map(|told| told.wanted.clone()).collect());
        for Told { wanted, data, .. } in answered {
            // Nothing marks it yet, so it is read once more.
            session.note(&wanted.topic, data);
        }
        sessions.insert(id, session);
        id
    }

    /// Of what was read for an incremental fetch, keeps the partitions that have news.
    pub fn news(&self, id: i32, answered: Vec<Told>) -> Vec<Told> {
        let mut sessions = self.sessions.lock();
        let Some(session) = sessions.get_mut(&id) else { return answered };
        answered.into_iter().filter(|told| session.tell(told)).collect()
    }
}

impl Session {
    fn forget(&mut self, topics: &[ForgottenTopic]) {
        for topic in topics {
            let key = TopicKey { name: topic.topic.clone(), id: topic.topic_id };
            for partition in &topic.partitions {
                if let Some(known) = self.known.remove(&(key.clone(), *partition)) {
                    self.by_slot.remove(&known.slot);
                    self.unread.remove(&known.place);
                }
            }
        }
    }

    fn remember(&mut self, wanted: Vec<Wanted>) {
        for Wanted { topic, partition, .. } in wanted {
            let key = (topic, partition.partition);
            if let Some(known) = self.known.get_mut(&key) {
                known.partition = partition;
                self.unread.insert(known.place, key);
                continue;
            }
            let slot = self.next;
            self.next += 1;
            let new = Known { slot, place: slot, partition, high_watermark: None, log_start: -1, registration: None };
            self.unread.insert(slot, key.clone());
            self.by_slot.insert(slot, key.clone());
            self.known.insert(key, new);
        }
    }

    /// Puts what was marked among what is to be read.
    fn take_marked(&mut self) -> Vec<PartitionKey> {
        let marked: Vec<PartitionKey> =
            self.watch.take().iter().filter_map(|slot| self.by_slot.get(slot)).cloned().collect();
        for key in &marked {
            self.unread.insert(self.known[key].place, key.clone());
        }
        marked
    }

    fn wanted(&self, key: &PartitionKey) -> Wanted {
        let known = &self.known[key];
        let (slot, place) = (known.slot, known.place);
        Wanted { topic: key.0.clone(), partition: known.partition.clone(), slot, place }
    }

    fn in_order(&self) -> Vec<Wanted> {
        self.unread.values().map(|key| self.wanted(key)).collect()
    }

    fn is_news(&self, topic: &TopicKey, data: &PartitionData) -> bool {
        let Some(known) = self.known.get(&(topic.clone(), data.partition_index)) else { return true };
        data.records.size_bytes() > 0
            || data.error_code != 0
            || known.high_watermark != Some(data.high_watermark)
            || known.log_start != data.log_start_offset
            || data.preferred_read_replica >= 0
            || data.diverging_epoch.epoch >= 0
    }

    /// Notes what is about to be told.
    fn note(&mut self, topic: &TopicKey, data: &PartitionData) {
        if let Some(known) = self.known.get_mut(&(topic.clone(), data.partition_index)) {
            known.high_watermark = (data.error_code == 0).then_some(data.high_watermark);
            known.log_start = data.log_start_offset;
        }
    }

    /// Notes what an incremental answer is about to tell; answers whether there is anything to tell. Partitions with
    /// records go to the end (those of the first, full answer do not).
    fn tell(&mut self, told: &Told) -> bool {
        let Told { wanted, data, is_at_end } = told;
        let news = self.is_news(&wanted.topic, data);
        self.note(&wanted.topic, data);
        let key = (wanted.topic.clone(), data.partition_index);
        let Some(known) = self.known.get_mut(&key) else { return news };
        if data.records.size_bytes() > 0 {
            self.unread.remove(&known.place);
            known.place = self.next;
            self.next += 1;
            self.unread.insert(known.place, key);
        } else if *is_at_end && known.registration.is_some() {
            self.unread.remove(&known.place);
        }
        news
    }
}

/// The partitions of a request, in the client's order. Of one that stands there twice, the last says where to read.
fn wanted(topics: &[FetchTopic]) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut places = HashMap::new();
    for topic in topics {
        let key = TopicKey { name: topic.topic.clone(), id: topic.topic_id };
        for partition in &topic.partitions {
            match places.entry((topic.topic.as_str(), topic.topic_id, partition.partition)) {
                Entry::Occupied(place) => {
                    let place: &usize = place.get();
                    wanted[*place].partition = partition.clone();
                }
                Entry::Vacant(place) => {
                    let at = wanted.len() as u64;
                    place.insert(wanted.len());
                    wanted.push(Wanted { topic: key.clone(), partition: partition.clone(), slot: at, place: at });
                }
            }
        }
    }
    wanted
}

/// After the maximum comes 1: 0 and −1 have meanings of their own.
fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

/// Pushes out the session that was idle for longest, if it was idle for long; else the smallest one that has
/// had its time and is smaller than the new one.
fn make_room(sessions: &mut HashMap<i32, Session>, partitions: usize, now: Millis) -> bool {
    let idle = sessions.iter().min_by_key(|(id, session)| (session.used, **id));
    if let Some((id, _)) = idle.filter(|(_, session)| now - session.used > EVICT_AFTER) {
        let id = *id;
        sessions.remove(&id);
        return true;
    }
    let had_its_time = sessions.iter().filter(|(_, session)| now - session.created > EVICT_AFTER);
    let smallest = had_its_time.min_by_key(|(id, session)| (session.known.len(), **id));
    match smallest.filter(|(_, session)| session.known.len() < partitions).map(|(id, _)| *id) {
        Some(id) => sessions.remove(&id).is_some(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use milena_protocol::wire::Records;

    use super::*;

    const ID: i32 = 77;

    fn request(session_id: i32, session_epoch: i32, partitions: &[i32]) -> FetchRequest {
        let partitions =
            partitions.iter().map(|partition| FetchPartition { partition: *partition, ..Default::default() }).collect();
        let topic = FetchTopic { topic: "t".to_owned(), partitions, ..Default::default() };
        FetchRequest { session_id, session_epoch, topics: vec![topic], ..Default::default() }
    }

    fn data(partition: i32, high_watermark: i64, bytes: usize) -> PartitionData {
        let records = Records::Bytes(Bytes::from(vec![0; bytes]));
        PartitionData { partition_index: partition, high_watermark, log_start_offset: 0, records, ..Default::default() }
    }

    fn told(wanted: Wanted, high_watermark: i64, bytes: usize) -> Told {
        let data = data(wanted.partition.partition, high_watermark, bytes);
        Told { wanted, data, is_at_end: bytes == 0 }
    }

    fn answered(sessions: &Sessions, request: &FetchRequest, now: Millis) -> Vec<Told> {
        let (_, wanted) = sessions.begin(request, false, now).expect("a valid session");
        wanted.into_iter().map(|wanted| told(wanted, 5, 0)).collect()
    }

    /// Registers everything that is asked for, as if each partition was there.
    fn registered(sessions: &Sessions, wanted: &[Wanted]) {
        sessions.register(ID, wanted, |_, registration| *registration = Some(Box::new(())));
    }

    fn with_session(partitions: &[i32]) -> Sessions {
        let sessions = Sessions::new(1);
        let first = answered(&sessions, &request(0, INITIAL_EPOCH, partitions), Millis(0));
        assert_eq!(sessions.grant(&first, &request(0, INITIAL_EPOCH, &[]), false, ID, Millis(0)), ID);
        sessions
    }

    #[test]
    fn an_incremental_answer_holds_only_news() {
        let sessions = with_session(&[0, 1]);
        let same = answered(&sessions, &request(ID, 1, &[]), Millis(1));
        assert_eq!(same.len(), 2, "both are read");
        assert!(sessions.news(ID, same).is_empty());
        let (_, wanted) = sessions.begin(&request(ID, 2, &[]), false, Millis(2)).expect("valid");
        let moved = wanted.into_iter().map(|wanted| told(wanted, 6, 0)).collect();
        assert_eq!(sessions.news(ID, moved).len(), 2, "the high watermarks moved");
    }

    #[test]
    fn an_error_is_followed_by_the_high_watermark_again() {
        let sessions = with_session(&[0]);
        let mut failed = answered(&sessions, &request(ID, 1, &[]), Millis(1));
        failed[0].data.error_code = 6;
        assert_eq!(sessions.news(ID, failed).len(), 1);
        let again = answered(&sessions, &request(ID, 2, &[]), Millis(2));
        assert_eq!(sessions.news(ID, again).len(), 1);
    }

    #[test]
    fn the_full_answer_keeps_the_order_of_the_request() {
        let sessions = Sessions::new(1);
        let (_, wanted) = sessions.begin(&request(0, INITIAL_EPOCH, &[0, 1]), false, Millis(0)).expect("valid");
        let full: Vec<_> = wanted.into_iter().zip([10, 0]).map(|(wanted, size)| told(wanted, 5, size)).collect();
        assert_eq!(sessions.grant(&full, &request(0, INITIAL_EPOCH, &[]), false, ID, Millis(0)), ID);
        let (_, wanted) = sessions.begin(&request(ID, 1, &[]), false, Millis(1)).expect("valid");
        let order: Vec<i32> = wanted.iter().map(|wanted| wanted.partition.partition).collect();
        assert_eq!(order, [0, 1]);
    }

    #[test]
    fn a_partition_that_is_asked_for_twice_is_read_once_and_as_asked_last() {
        let mut twice = request(0, FINAL_EPOCH, &[3, 4, 3]);
        twice.topics[0].partitions[2].fetch_offset = 9;
        let (_, wanted) = Sessions::new(1).begin(&twice, false, Millis(0)).expect("valid");
        let read: Vec<(i32, i64)> =
            wanted.iter().map(|wanted| (wanted.partition.partition, wanted.partition.fetch_offset)).collect();
        assert_eq!(read, [(3, 9), (4, 0)]);
    }

    #[test]
    fn partitions_with_data_go_to_the_end() {
        let sessions = with_session(&[0, 1, 2]);
        let (_, mut wanted) = sessions.begin(&request(ID, 1, &[]), false, Millis(1)).expect("valid");
        let first = wanted.remove(0);
        sessions.news(ID, vec![told(first, 6, 10)]);
        let (_, wanted) = sessions.begin(&request(ID, 2, &[]), false, Millis(1)).expect("valid");
        let order: Vec<i32> = wanted.iter().map(|wanted| wanted.partition.partition).collect();
        assert_eq!(order, [1, 2, 0]);
    }

    #[test]
    fn wrong_epochs_ids_and_kinds_are_refused() {
        let sessions = with_session(&[0]);
        let begin = |request: &FetchRequest, by_id| sessions.begin(request, by_id, Millis(1)).map(|_| ());
        assert_eq!(begin(&request(ID, 2, &[]), false), Err(ErrorCode::InvalidFetchSessionEpoch));
        assert_eq!(begin(&request(ID + 1, 1, &[]), false), Err(ErrorCode::FetchSessionIdNotFound));
        assert_eq!(begin(&request(ID, 1, &[]), true), Err(ErrorCode::FetchSessionTopicIdError));
        assert_eq!(begin(&request(ID, FINAL_EPOCH, &[0]), false), Ok(()), "closes the session");
        assert!(sessions.is_empty());
    }

    #[test]
    fn forgotten_partitions_are_not_read_and_an_empty_session_ends() {
        let sessions = with_session(&[0, 1]);
        let mut forget = request(ID, 1, &[]);
        forget.topics.clear();
        forget.forgotten_topics_data =
            vec![ForgottenTopic { topic: "t".to_owned(), partitions: vec![1], ..Default::default() }];
        assert_eq!(answered(&sessions, &forget, Millis(1)).len(), 1);
        forget.session_epoch = 2;
        forget.forgotten_topics_data[0].partitions = vec![0];
        let (context, wanted) = sessions.begin(&forget, false, Millis(1)).expect("valid");
        assert!(matches!(context, Context::Sessionless) && wanted.is_empty());
        assert!(sessions.is_empty());
    }

    #[test]
    fn a_full_cache_grants_nothing_until_a_session_is_old() {
        let sessions = with_session(&[0]);
        let second = |now| {
            let full = answered(&sessions, &request(0, INITIAL_EPOCH, &[0]), now);
            sessions.grant(&full, &request(0, INITIAL_EPOCH, &[]), false, ID + 1, now)
        };
        assert_eq!(second(Millis(1)), NO_SESSION);
        assert_eq!(second(EVICT_AFTER + Millis(1)), ID + 1);
        assert_eq!(sessions.len(), 1);
    }

    #[test]
    fn what_was_read_to_its_end_is_not_read_again_before_it_marks_itself() {
        let sessions = with_session(&[0, 1, 2]);
        let (context, wanted) = sessions.begin(&request(ID, 1, &[]), false, Millis(1)).expect("valid");
        let Context::Incremental { watch, .. } = context else { panic!("a session") };
        registered(&sessions, &wanted);
        let slot = wanted[1].slot;
        sessions.news(ID, wanted.into_iter().map(|wanted| told(wanted, 5, 0)).collect());
        assert!(answered(&sessions, &request(ID, 2, &[]), Millis(1)).is_empty(), "nothing has news");
        watch.mark(slot);
        let marked: Vec<i32> = sessions.marked(ID).iter().map(|wanted| wanted.partition.partition).collect();
        assert_eq!(marked, [1]);
        let unread = answered(&sessions, &request(ID, 3, &[2]), Millis(1));
        let unread: Vec<i32> = unread.iter().map(|told| told.wanted.partition.partition).collect();
        assert_eq!(unread, [1, 2], "one was marked and not answered yet, one is asked for anew");
    }

    #[test]
    fn what_nothing_marks_is_read_each_time() {
        let sessions = with_session(&[0]);
        let unregistered = answered(&sessions, &request(ID, 1, &[]), Millis(1));
        sessions.news(ID, unregistered);
        assert_eq!(answered(&sessions, &request(ID, 2, &[]), Millis(1)).len(), 1);
    }

    #[test]
    fn another_isolation_level_reads_everything_again() {
        let sessions = with_session(&[0, 1]);
        let (_, wanted) = sessions.begin(&request(ID, 1, &[]), false, Millis(1)).expect("valid");
        registered(&sessions, &wanted);
        sessions.news(ID, wanted.into_iter().map(|wanted| told(wanted, 5, 0)).collect());
        let committed = FetchRequest { isolation_level: 1, ..request(ID, 2, &[]) };
        assert_eq!(answered(&sessions, &committed, Millis(1)).len(), 2);
    }
}
