//! Random histories of the metadata log: however a log is read (at once or in pieces, from its beginning or from a
//! snapshot of any point, through bytes or not), the same image comes out, and the changes name whatever differs.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use milena_base::{Millis, Random};
use milena_metadata::delta::Changes;
use milena_metadata::image::{Image, Topic};
use milena_metadata::loader::Loader;
use milena_metadata::records::{self, Batch};
use milena_metadata::snapshot;
use milena_protocol::messages::client_quota_record::EntityData;
use milena_protocol::messages::register_broker_record::{BrokerEndpoint, BrokerFeature};
use milena_protocol::messages::{
    AbortTransactionRecord, AccessControlEntryRecord, BeginTransactionRecord, BrokerRegistrationChangeRecord,
    ClearElrRecord, ClientQuotaRecord, ConfigRecord, DelegationTokenRecord, EndTransactionRecord, FeatureLevelRecord,
    FenceBrokerRecord, MetadataRecord, NoOpRecord, PartitionChangeRecord, PartitionRecord, ProducerIdsRecord,
    RegisterBrokerRecord, RegisterControllerRecord, RemoveAccessControlEntryRecord, RemoveDelegationTokenRecord,
    RemoveTopicRecord, RemoveUserScramCredentialRecord, TopicRecord, UnfenceBrokerRecord, UnregisterBrokerRecord,
    UserScramCredentialRecord,
};
use milena_protocol::{LeaderEpoch, Offset, Uuid};

/// Histories per test; each has [`BATCHES`] batches.
const SEEDS: u64 = 40;
const BATCHES: usize = 80;

/// What a writer of records has to know to write none that does not fit.
#[derive(Default, Clone)]
struct Known {
    topics: BTreeMap<Uuid, (String, i32)>,
    brokers: BTreeMap<i32, i64>,
    acls: BTreeSet<Uuid>,
    scram: BTreeSet<String>,
    producer_id: i64,
}

struct Writer {
    random: Random,
    known: Known,
    /// What was known before the open transaction.
    before: Option<Known>,
    next: Offset,
}

impl Writer {
    fn new(seed: u64) -> Writer {
        Writer { random: Random::from_seed(seed), known: Known::default(), before: None, next: Offset(0) }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn pick<T: Clone>(&mut self, all: Vec<T>) -> Option<T> {
        let at = self.below(all.len().max(1));
        all.get(at).cloned()
    }

    fn nodes(&mut self) -> Vec<i32> {
        let first = 1 + self.below(4) as i32;
        (first..first + 1 + self.below(3) as i32).collect()
    }

    fn batch(&mut self, number: usize) -> Bytes {
        let mut records = Vec::new();
        for _ in 0..1 + self.below(12) {
            let record = match (self.chance(20), self.before.is_some()) {
                (true, false) => {
                    self.before = Some(self.known.clone());
                    BeginTransactionRecord::default().into()
                }
                (true, true) if self.chance(3) => {
                    self.known = self.before.take().expect("a transaction is open");
                    AbortTransactionRecord::default().into()
                }
                (true, true) => {
                    self.before = None;
                    EndTransactionRecord::default().into()
                }
                (false, _) => self.record(),
            };
            records.push(record);
        }
        let (epoch, timestamp) = (LeaderEpoch(1 + number as i32 / 7), Millis(1000 + number as i64));
        let bytes = records::encode_data(self.next, epoch, timestamp, &records);
        self.next = self.next + records.len() as i64;
        bytes
    }

    fn record(&mut self) -> MetadataRecord {
        let made = match self.below(16) {
            0 | 1 => Some(self.topic()),
            2..=4 => self.partition(),
            5 | 6 => self.partition_change(),
            7 => self.remove_topic(),
            8 | 9 => Some(self.config()),
            10 => Some(self.broker()),
            11 | 12 => self.broker_change(),
            13 => Some(self.quota()),
            14 => Some(self.security()),
            _ => Some(self.other()),
        };
        made.unwrap_or_else(|| NoOpRecord::default().into())
    }

    fn topic(&mut self) -> MetadataRecord {
        let (id, name) = (Uuid(self.random.bytes16()), format!("t{}", self.below(30)));
        if self.known.topics.values().any(|(known, _)| *known == name) {
            return NoOpRecord::default().into();
        }
        self.known.topics.insert(id, (name.clone(), 0));
        TopicRecord { name, topic_id: id }.into()
    }

    fn partition(&mut self) -> Option<MetadataRecord> {
        let id = self.pick(self.known.topics.keys().copied().collect())?;
        let (_, partitions) = self.known.topics.get_mut(&id)?;
        let partition_id = *partitions;
        *partitions += 1;
        let replicas = self.nodes();
        let record = PartitionRecord {
            partition_id,
            topic_id: id,
            leader: replicas[0],
            isr: replicas.clone(),
            directories: replicas.iter().map(|id| Uuid([*id as u8; 16])).collect(),
            adding_replicas: if self.chance(4) { vec![replicas[0]] } else { Vec::new() },
            eligible_leader_replicas: if self.chance(3) { Some(vec![9]) } else { None },
            leader_recovery_state: self.below(2) as i8,
            replicas,
            ..PartitionRecord::default()
        };
        Some(record.into())
    }

    fn partition_change(&mut self) -> Option<MetadataRecord> {
        let grown = self.known.topics.iter().filter(|(_, (_, partitions))| *partitions > 0);
        let (id, partitions) = self.pick(grown.map(|(id, (_, partitions))| (*id, *partitions)).collect())?;
        let mut record = PartitionChangeRecord {
            partition_id: self.below(partitions as usize) as i32,
            topic_id: id,
            ..PartitionChangeRecord::default()
        };
        match self.below(4) {
            0 => record.leader = [-1, 1, 2][self.below(3)],
            1 => record.isr = Some(self.nodes()),
            2 => {
                let replicas = self.nodes();
                record.directories = Some(vec![Uuid([3; 16]); replicas.len()]);
                record.replicas = Some(replicas);
            }
            _ => {
                record.eligible_leader_replicas = Some(self.nodes());
                record.last_known_elr = Some(self.nodes());
                record.leader_recovery_state = self.below(2) as i8;
            }
        }
        Some(record.into())
    }

    fn remove_topic(&mut self) -> Option<MetadataRecord> {
        let id = self.pick(self.known.topics.keys().copied().collect())?;
        self.known.topics.remove(&id);
        Some(RemoveTopicRecord { topic_id: id }.into())
    }

    fn config(&mut self) -> MetadataRecord {
        let value = if self.chance(3) { None } else { Some(format!("{}", self.below(100))) };
        let (resource_type, resource_name) = match self.below(3) {
            0 => (4, ["", "1"][self.below(2)].to_string()),
            1 => (2, format!("t{}", self.below(30))),
            _ => (32, "g".to_string()),
        };
        ConfigRecord { resource_type, resource_name, name: format!("k{}", self.below(5)), value }.into()
    }

    fn broker(&mut self) -> MetadataRecord {
        let (broker_id, broker_epoch) = (1 + self.below(5) as i32, self.next.0);
        self.known.brokers.insert(broker_id, broker_epoch);
        let end_point = BrokerEndpoint { name: "PLAINTEXT".into(), host: "h".into(), port: 9092, security_protocol: 0 };
        let name = "metadata.version".to_string();
        let feature = BrokerFeature { name, min_supported_version: 7, max_supported_version: 30 };
        let record = RegisterBrokerRecord {
            broker_id,
            broker_epoch,
            incarnation_id: Uuid(self.random.bytes16()),
            end_points: vec![end_point],
            features: vec![feature],
            rack: if self.chance(2) { Some("r".into()) } else { None },
            log_dirs: vec![Uuid([broker_id as u8; 16])],
            cordoned_log_dirs: if self.chance(2) { Some(Vec::new()) } else { None },
            ..RegisterBrokerRecord::default()
        };
        record.into()
    }

    fn broker_change(&mut self) -> Option<MetadataRecord> {
        let known = self.known.brokers.iter().map(|(id, epoch)| (*id, *epoch)).collect();
        let (broker_id, broker_epoch) = self.pick(known)?;
        let mut change = BrokerRegistrationChangeRecord { broker_id, broker_epoch, ..Default::default() };
        match self.below(6) {
            0 => return Some(FenceBrokerRecord { id: broker_id, epoch: broker_epoch }.into()),
            1 => return Some(UnfenceBrokerRecord { id: broker_id, epoch: broker_epoch }.into()),
            2 => {
                self.known.brokers.remove(&broker_id);
                return Some(UnregisterBrokerRecord { broker_id, broker_epoch }.into());
            }
            3 => change.in_controlled_shutdown = 1,
            4 => change.cordoned_log_dirs = Some(vec![Uuid([broker_id as u8; 16])]),
            _ => change.fenced = [-1, 1][self.below(2)],
        }
        Some(change.into())
    }

    fn quota(&mut self) -> MetadataRecord {
        let entity_name = if self.chance(2) { None } else { Some(format!("u{}", self.below(3))) };
        let entity = vec![EntityData { entity_type: "user".into(), entity_name }];
        let key = format!("rate{}", self.below(3));
        ClientQuotaRecord { entity, key, value: self.below(9) as f64, remove: self.chance(3) }.into()
    }

    fn security(&mut self) -> MetadataRecord {
        match self.below(6) {
            0 => {
                let id = Uuid(self.random.bytes16());
                self.known.acls.insert(id);
                AccessControlEntryRecord { id, resource_name: "t".into(), ..Default::default() }.into()
            }
            1 => match self.known.acls.pop_first() {
                Some(id) => RemoveAccessControlEntryRecord { id }.into(),
                None => NoOpRecord::default().into(),
            },
            2 => {
                let name = format!("u{}", self.below(5));
                self.known.scram.insert(name.clone());
                let salt = Bytes::copy_from_slice(&self.random.bytes16());
                UserScramCredentialRecord { name, mechanism: 1, salt, iterations: 4096, ..Default::default() }.into()
            }
            3 => match self.known.scram.pop_first() {
                Some(name) => RemoveUserScramCredentialRecord { name, mechanism: 1 }.into(),
                None => NoOpRecord::default().into(),
            },
            4 => DelegationTokenRecord { token_id: format!("{}", self.below(4)), ..Default::default() }.into(),
            _ => RemoveDelegationTokenRecord { token_id: format!("{}", self.below(4)) }.into(),
        }
    }

    fn other(&mut self) -> MetadataRecord {
        match self.below(4) {
            0 => {
                let name = ["metadata.version", "group.version", "share.version"][self.below(3)].to_string();
                FeatureLevelRecord { name, feature_level: self.below(3) as i16 }.into()
            }
            1 => {
                self.known.producer_id += 1000;
                let next_producer_id = self.known.producer_id;
                ProducerIdsRecord { broker_id: 1, broker_epoch: 1, next_producer_id }.into()
            }
            2 => RegisterControllerRecord { controller_id: self.below(3) as i32, ..Default::default() }.into(),
            _ => ClearElrRecord { topic_name: String::new() }.into(),
        }
    }
}

/// The batches of a log, through their bytes.
fn history(seed: u64) -> Vec<Batch> {
    println!("seed {seed}");
    let mut writer = Writer::new(seed);
    let log: Vec<u8> = (0..BATCHES).flat_map(|number| writer.batch(number)).collect();
    records::decode(&log.into()).expect("what was encoded is decoded")
}

fn load(batches: &[Batch]) -> Loader {
    let mut loader = Loader::new();
    batches.iter().for_each(|batch| loader.replay(batch).expect("every record fits"));
    loader.publish();
    loader
}

#[test]
fn publishing_in_between_changes_nothing() {
    for seed in 0..SEEDS {
        let batches = history(seed);
        let mut random = Random::from_seed(seed);
        let mut loader = Loader::new();
        for batch in &batches {
            loader.replay(batch).expect("every record fits");
            if random.below(3) == 0 {
                loader.publish();
            }
        }
        loader.publish();
        assert_eq!(loader.image(), load(&batches).image());
    }
}

#[test]
fn a_snapshot_of_any_point_stands_for_the_log_before_it() {
    for seed in 0..SEEDS {
        let batches = history(seed);
        let whole = load(&batches);
        for cut in [1, 7, 20, 41, BATCHES - 1] {
            let part = load(&batches[..cut]);
            let (id, contents) = snapshot::write(part.image(), None, Millis(5));
            let snapshot = snapshot::read(id, &contents).expect("what was written is read");
            let mut loader = Loader::new();
            loader.load_snapshot(&snapshot).expect("a snapshot's records fit");
            loader.publish();
            assert_eq!(loader.image(), part.image(), "after {cut} batches");
            // From the beginning: what the snapshot holds is skipped.
            batches.iter().for_each(|batch| loader.replay(batch).expect("every record fits"));
            loader.publish();
            assert_eq!(loader.image(), whole.image(), "after {cut} batches");
        }
    }
}

#[test]
fn a_snapshot_in_the_middle_of_a_life_replaces_everything() {
    for seed in 0..SEEDS {
        let target = load(&history(seed + SEEDS));
        let (id, contents) = snapshot::write(target.image(), None, Millis(5));
        let mut loader = load(&history(seed));
        let before = loader.image().clone();
        loader.load_snapshot(&snapshot::read(id, &contents).expect("whole")).expect("a snapshot's records fit");
        let (after, changes) = loader.publish();
        assert!(after.same_state(target.image()) && changes.from_snapshot);
        assert_names_all(&before, &after, &changes);
    }
}

#[test]
fn the_changes_name_whatever_differs() {
    for seed in 0..SEEDS {
        let mut loader = Loader::new();
        let mut before = Image::default();
        for batch in history(seed) {
            loader.replay(&batch).expect("every record fits");
            let (after, changes) = loader.publish();
            assert_names_all(&before, &after, &changes);
            before = after;
        }
    }
}

fn assert_names_all(before: &Image, after: &Image, changes: &Changes) {
    for topic in before.topics().chain(after.topics()) {
        let id = topic.id;
        let state = |image: &Image| image.topic_by_id(id).map(|topic| Topic::clone(topic));
        let (old, new) = (state(before), state(after));
        assert!(old == new || changes.topics.contains_key(&id), "topic {id}");
        let partitions = |topic: Option<Topic>| topic.map(|topic| topic.partitions).unwrap_or_default();
        let (old, new) = (partitions(old), partitions(new));
        for number in old.keys().chain(new.keys()) {
            let is_named = || changes.topics[&id].partitions.contains(number);
            assert!(old.get(number) == new.get(number) || is_named(), "partition {number} of {id}");
        }
    }
    for (resource, _) in before.configs().chain(after.configs()) {
        assert!(before.config(resource) == after.config(resource) || changes.configs.contains(resource));
    }
    for id in before.brokers().chain(after.brokers()).map(|broker| broker.id) {
        assert!(before.broker(id) == after.broker(id) || changes.brokers.contains(&id), "broker {id}");
    }
    for name in before.features().keys().chain(after.features().keys()) {
        assert!(before.feature(name) == after.feature(name) || changes.features.contains(name), "feature {name}");
    }
    assert!(before.next_producer_id() == after.next_producer_id() || changes.producer_ids);
    assert!(before.quotas() == after.quotas() || changes.quotas);
    assert!(before.acls() == after.acls() || changes.acls);
    assert!(before.scram() == after.scram() || changes.scram);
    assert!(before.tokens() == after.tokens() || changes.tokens);
}
