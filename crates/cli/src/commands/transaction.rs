//! `milena transaction`: what is under way, who holds it open, and what to do about transactions that nobody will end.

mod rows;

use std::collections::BTreeSet;

use milena_base::Millis;
use milena_client::admin::{PartitionProducer, TransactionFilter};
use milena_client::{Admin, Error};
use milena_protocol::{NodeId, Offset, ProducerId, Sequence, TopicPartition};

use crate::completion;
use crate::connect::Target;
use crate::failure::Failure;
use crate::output::Output;
use crate::scope::{self, Scope};
use crate::{names, numbers, time};

use rows::{Changed, DescribedRow, HangingRow, ListedRow, ProducerRow};

/// List, describe, find and abort transactions
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// List transactional ids with the state of their transaction
    List {
        /// Only those in this state, like Ongoing; may be repeated
        #[arg(long, value_parser = STATES)]
        state: Vec<String>,
        /// Only those of this producer; may be repeated
        #[arg(long, value_name = "ID")]
        producer_id: Vec<i64>,
        /// Only transactions that are open for longer than this, like PT5M
        #[arg(long, value_name = "SPAN", value_parser = time::parse_duration)]
        longer_than: Option<Millis>,
        /// Only ids that this regular expression matches as a whole
        #[arg(long, value_name = "PATTERN")]
        id_pattern: Option<String>,
    },
    /// Show the coordinator, the producer and the partitions of transactional ids
    Describe {
        /// The ids
        #[arg(required = true, value_parser = names::id, add = completion::transactional_ids())]
        ids: Vec<String>,
    },
    /// Show the producers that the leader of a partition remembers, and what they have open
    DescribeProducers {
        /// Which partition, `TOPIC:PARTITION`; may be several of a topic, or the topic for all
        #[arg(value_parser = scope::parse)]
        partition: Scope,
        /// Ask this broker rather than the leader
        #[arg(long, value_name = "ID")]
        broker: Option<i32>,
    },
    /// Find transactions that are open and that no coordinator will end
    FindHanging {
        /// Which topic, `TOPIC` or `TOPIC:0,1` for some of its partitions; may be repeated [default: every topic]
        #[arg(short, long, value_parser = scope::parse)]
        topic: Vec<Scope>,
        /// Only partitions that this broker holds, and as it knows them
        #[arg(long, value_name = "ID")]
        broker: Option<i32>,
        /// How old the last record has to be: at least the brokers' transaction.max.timeout.ms
        #[arg(long, value_name = "SPAN", default_value = "PT15M", value_parser = time::parse_duration)]
        longer_than: Millis,
    },
    /// Abort what is open in one partition, past its coordinator; see find-hanging for what may be aborted so
    Abort(Abort),
    /// Take a transactional id over for a moment: its producer is fenced, and what is open aborted
    Terminate {
        /// The id
        #[arg(value_parser = names::id, add = completion::transactional_ids())]
        id: String,
    },
}

/// Kafka's names of what a transaction may be at.
const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

/// Abort what is open in one partition
#[derive(clap::Args)]
pub(crate) struct Abort {
    /// The topic
    #[arg(value_parser = names::topic, add = completion::topics())]
    topic: String,
    /// The number of the partition
    #[arg(allow_negative_numbers = true, value_parser = numbers::natural::<i32>)]
    partition: i32,
    /// Where the transaction begins, as find-hanging shows it
    #[arg(long, value_name = "OFFSET", conflicts_with_all = ["producer_id", "producer_epoch", "coordinator_epoch"])]
    start_offset: Option<i64>,
    /// The producer instead, where the broker cannot be asked for it
    #[arg(long, value_name = "ID", requires_all = ["producer_epoch", "coordinator_epoch"])]
    producer_id: Option<i64>,
    /// Its epoch
    #[arg(long, value_name = "EPOCH", requires = "producer_id")]
    producer_epoch: Option<i32>,
    /// The epoch of the coordinator that is spoken for
    #[arg(long, value_name = "EPOCH", requires = "producer_id")]
    coordinator_epoch: Option<i32>,
}

pub(crate) async fn run(command: Command, target: &Target, output: &Output) -> Result<(), Failure> {
    let admin = Admin::new(&target.connect().await?);
    match command {
        Command::List { state, producer_id, longer_than, id_pattern } => {
            let producer_ids = producer_id.into_iter().map(ProducerId).collect();
            let filter = TransactionFilter { states: state, producer_ids, longer_than, id_pattern };
            let listed = admin.list_transactions(&filter).await?.into_iter();
            output.list(&listed.map(ListedRow::from).collect::<Vec<_>>())
        }
        Command::Describe { ids } => {
            let mut rows = Vec::with_capacity(ids.len());
            for id in &ids {
                rows.push(DescribedRow::at(time::now(), admin.describe_transaction(id).await?));
            }
            output.list(&rows)
        }
        Command::DescribeProducers { partition: scope, broker } => {
            let mut rows = Vec::new();
            for partition in partitions(&admin, std::slice::from_ref(&scope), None).await? {
                let producers = admin.describe_producers(&partition, broker.map(NodeId)).await?.into_iter();
                rows.extend(producers.map(|producer| ProducerRow::new(&partition, producer)));
            }
            output.list(&rows)
        }
        Command::FindHanging { topic, broker, longer_than } => {
            let broker = broker.map(NodeId);
            let partitions = partitions(&admin, &topic, broker).await?;
            let now = time::now();
            let found = admin.find_hanging(&partitions, broker, now, longer_than).await?.into_iter();
            output.list(&found.map(|hanging| HangingRow::at(now, hanging)).collect::<Vec<_>>())
        }
        Command::Abort(abort) => abort.run(&admin, output).await,
        Command::Terminate { id } => {
            admin.terminate_transaction(&id).await?;
            let changed = Changed { transactional_id: Some(&id), partition: None, change: "terminated" };
            output.result(&changed, &format!("the producer of \"{id}\" is fenced, and what it had open is aborted"))
        }
    }
}

impl Abort {
    async fn run(&self, admin: &Admin, output: &Output) -> Result<(), Failure> {
        let partition = TopicPartition::new(self.topic.clone(), self.partition);
        let producer = match (self.start_offset, self.producer_id) {
            (Some(start), _) => open_since(admin, &partition, Offset(start)).await?,
            (None, Some(id)) => PartitionProducer {
                producer_id: ProducerId(id),
                producer_epoch: self.producer_epoch.unwrap_or_default(),
                coordinator_epoch: self.coordinator_epoch,
                last_sequence: Sequence::NONE,
                last_timestamp: Millis::NONE,
                open_since: None,
            },
            (None, None) => return Err(Failure::usage("give --start-offset, or --producer-id with both epochs")),
        };
        admin.abort_open(&partition, &producer).await?;
        let changed = Changed { transactional_id: None, partition: Some(partition.to_string()), change: "aborted" };
        let id = producer.producer_id;
        output.result(&changed, &format!("what producer {id} had open in {partition} is aborted"))
    }
}

/// The producer whose transaction begins there.
async fn open_since(admin: &Admin, partition: &TopicPartition, start: Offset) -> Result<PartitionProducer, Failure> {
    let producers = admin.describe_producers(partition, None).await?;
    producers.into_iter().find(|producer| producer.open_since == Some(start)).ok_or_else(|| {
        let advice = format!("see `milena transaction describe-producers {}:{}`", partition.topic, partition.partition);
        Failure::failed(format!("no transaction in {partition} begins at offset {start}; {advice}"))
    })
}

/// The partitions that are meant: all that there are without a topic, and of a broker those that it holds.
async fn partitions(admin: &Admin, topics: &[Scope], broker: Option<NodeId>) -> Result<Vec<TopicPartition>, Failure> {
    let view = admin.describe_cluster().await?;
    if let Some(node) = broker.filter(|broker| !view.brokers.contains_key(broker)) {
        return Err(Error::NoSuchBroker { node, known: view.brokers.keys().copied().collect() }.into());
    }
    let mut meant = BTreeSet::new();
    for topic in view.topics.values() {
        for (number, partition) in &topic.partitions {
            let name = TopicPartition::new(topic.name.clone(), *number);
            let is_meant = topics.is_empty() || topics.iter().any(|scope| scope.holds(&name));
            if is_meant && broker.is_none_or(|broker| partition.replicas.contains(&broker)) {
                meant.insert(name);
            }
        }
    }
    let is_missing = |scope: &&Scope| !meant.iter().any(|partition| scope.holds(partition));
    match topics.iter().find(is_missing) {
        Some(missing) => Err(Failure::failed(format!(
            "there is no such partition of topic \"{}\"{}; see `milena topic list`",
            missing.topic,
            broker.map(|broker| format!(" on broker {broker}")).unwrap_or_default()
        ))),
        None => Ok(meant.into_iter().collect()),
    }
}
