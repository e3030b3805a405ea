//! Sending in transactions: readers of committed records see all records of one, or none.

use std::time::Duration;

use milena_base::Millis;
use milena_client::transaction::Transaction;
use milena_client::{Cluster, ProducerSettings, TransactionSettings, TransactionalProducer};

use super::{Lines, Sending, Way};
use crate::failure::Failure;
use crate::{names, numbers, time};

/// How records are put into transactions
#[derive(clap::Args)]
pub(super) struct Transactions {
    /// Send in transactions as this producer; another one with the same id is fenced
    #[arg(long, value_name = "ID", value_parser = names::id)]
    pub(super) transactional_id: Option<String>,
    /// Commit after so many records, and at the end [default: all in one transaction]
    #[arg(long, value_name = "N", requires = "transactional_id", allow_negative_numbers = true, value_parser = numbers::positive::<u64>)]
    transaction_records: Option<u64>,
    /// How long a transaction may stay open before the broker aborts it
    #[arg(long, value_name = "SPAN", default_value = "PT1M", requires = "transactional_id", value_parser = time::parse_duration)]
    transaction_timeout: Millis,
}

/// Sends all lines. A transaction that a bad line, a broker or Ctrl-C interrupts is aborted; those before it stay.
pub(super) async fn send_all(
    cluster: &Cluster,
    producer: ProducerSettings,
    (id, how): (&str, &Transactions),
    lines: &mut Lines,
    sending: &mut Sending<'_>,
) -> Result<(), Failure> {
    let timeout = Duration::from_millis(how.transaction_timeout.0.unsigned_abs());
    let settings = TransactionSettings { timeout, producer, ..TransactionSettings::new(id) };
    let mut producer = TransactionalProducer::open(cluster, settings).await?;
    loop {
        let committed = sending.records();
        let transaction = producer.begin().await?;
        let end = fill(&transaction, how.transaction_records, lines, sending).await;
        match end {
            Ok(End::Interrupted) => {
                transaction.abort().await?;
                return Err(Failure::failed(format!("stopped: {committed} records are committed, the others aborted")));
            }
            Ok(end) => {
                transaction.commit().await?;
                if end == End::OfInput {
                    return Ok(());
                }
            }
            Err(failure) => {
                // The failure is what the user has to know; a producer that is fenced cannot abort either.
                transaction.abort().await.ok();
                return Err(failure);
            }
        }
    }
}

/// Why a transaction takes no more records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Full,
    OfInput,
    Interrupted,
}

async fn fill(
    transaction: &Transaction<'_>,
    records_max: Option<u64>,
    lines: &mut Lines,
    sending: &mut Sending<'_>,
) -> Result<End, Failure> {
    let first = sending.records();
    while records_max.is_none_or(|max| sending.records() - first < max) {
        match lines.next().await {
            Some(line) => sending.send(Way::Transaction(transaction), line).await?,
            None if lines.is_interrupted() => return Ok(End::Interrupted),
            None => return Ok(End::OfInput),
        }
    }
    Ok(End::Full)
}
