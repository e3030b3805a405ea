//! Where a reset moves offsets: each strategy of Kafka's tool. A destination never lies outside of its log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use milena_base::Millis;
use milena_client::Admin;
use milena_client::admin::OffsetSpec;
use milena_protocol::{Offset, TopicPartition};

use crate::failure::Failure;
use crate::{numbers, time};

/// Where offsets are moved.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct To {
    /// To the log start
    #[arg(long)]
    to_earliest: bool,
    /// To the log end
    #[arg(long)]
    to_latest: bool,
    /// To where they are; offsets that are not stored yet: to the log end
    #[arg(long)]
    to_current: bool,
    /// To this offset
    #[arg(long, value_name = "OFFSET", allow_negative_numbers = true, value_parser = numbers::natural::<i64>)]
    to_offset: Option<i64>,
    /// To the first record of this time or later, like 2025-10-16T14:07:00Z
    #[arg(long, visible_alias = "to-time", value_name = "TIME", value_parser = time::parse)]
    to_datetime: Option<Millis>,
    /// To the first record that is not older than this, like P7D or PT1H30M
    #[arg(long, value_name = "SPAN", value_parser = time::parse_duration)]
    by_duration: Option<Millis>,
    /// By so many records; negative is back
    #[arg(long, value_name = "RECORDS", allow_hyphen_values = true)]
    shift_by: Option<i64>,
    /// To where a file says, line by line: TOPIC,PARTITION,OFFSET, as --export prints them
    #[arg(long, value_name = "FILE")]
    pub(super) from_file: Option<PathBuf>,
}

impl To {
    /// Whether the offset that is stored now plays a part.
    fn is_relative(&self) -> bool {
        self.shift_by.is_some() || self.to_current
    }
}

/// The log of one partition, and what the group has stored there.
pub(super) struct Place<'a> {
    pub(super) partition: &'a TopicPartition,
    pub(super) stored: Option<Offset>,
    /// What a file wants, if there is a file.
    pub(super) listed: Option<Offset>,
}

/// Where the offset of one partition goes, and what was asked for if that is not within the log.
pub(super) async fn destination(
    admin: &Admin,
    place: &Place<'_>,
    to: &To,
    now: Millis,
) -> Result<(Offset, Option<Offset>), Failure> {
    let Place { partition, stored, listed } = place;
    let find = async |spec| -> Result<Option<Offset>, Failure> {
        let found = admin.list_offsets(&[((*partition).clone(), spec)]).await?;
        Ok(found.into_values().next().and_then(|found| found.offset))
    };
    let start = find(OffsetSpec::Earliest).await?.unwrap_or(Offset(0));
    let end = find(OffsetSpec::Latest).await?.unwrap_or(start).max(start);
    // Times before 1970 have other meanings on the wire.
    let time = to.to_datetime.or_else(|| to.by_duration.map(|span| now - span)).map(|time| time.max(Millis(0)));
    let wanted = if let Some(time) = time {
        find(OffsetSpec::At(time)).await?.unwrap_or(end)
    } else if to.to_earliest {
        start
    } else if to.to_latest {
        end
    } else if to.is_relative() {
        relative(to, partition, *stored, end)?
    } else {
        listed.or(to.to_offset.map(Offset)).unwrap_or(end)
    };
    let within = wanted.clamp(start, end);
    Ok((within, (within != wanted).then_some(wanted)))
}

fn relative(to: &To, partition: &TopicPartition, stored: Option<Offset>, end: Offset) -> Result<Offset, Failure> {
    let Some(records) = to.shift_by else { return Ok(stored.unwrap_or(end)) };
    let missing = || {
        Failure::failed(format!(
            "{partition} has no offset to be shifted; leave it out with --topic, or begin with --to-earliest"
        ))
    };
    stored.map(|stored| Offset(stored.0.saturating_add(records))).ok_or_else(missing)
}

/// The offsets that a file lists for a group: lines of `TOPIC,PARTITION,OFFSET`, or with the group before them, as
/// Kafka's tool exports them for several groups.
pub(super) fn read(file: &Path, group: &str) -> Result<BTreeMap<TopicPartition, Offset>, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::unreadable(file.display(), &error))?;
    parse(&text, group).map_err(|(line, wrong)| {
        let form = "it must be TOPIC,PARTITION,OFFSET";
        Failure::usage(format!("{}, line {line}: \"{wrong}\"; {form}", file.display()))
    })
}

fn parse(text: &str, group: &str) -> Result<BTreeMap<TopicPartition, Offset>, (usize, String)> {
    let mut offsets = BTreeMap::new();
    for (at, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = || (at, line.to_owned());
        let cells: Vec<&str> = line.split(',').map(|cell| cell.trim().trim_matches('"')).collect();
        let (topic, partition, offset) = match cells.as_slice() {
            [topic, partition, offset] => (topic, partition, offset),
            [of, topic, partition, offset] if *of == group => (topic, partition, offset),
            [_, _, _, _] => continue,
            _ => return Err(wrong()),
        };
        let partition: i32 = partition.parse().map_err(|_| wrong())?;
        let offset: i64 = offset.parse().map_err(|_| wrong())?;
        offsets.insert(TopicPartition::new((*topic).to_owned(), partition), Offset(offset));
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_lists_offsets_with_or_without_their_group() {
        let listed = parse("t,0,5\n\n\"g\",t,1,6\nother,t,2,7\n", "g").unwrap();
        let expected = [(TopicPartition::new("t", 0), Offset(5)), (TopicPartition::new("t", 1), Offset(6))];
        assert_eq!(listed, BTreeMap::from(expected));
        assert_eq!(parse("t,0,5\nt,zero,5", "g"), Err((2, "t,zero,5".to_owned())));
        assert!(parse("t,0", "g").is_err());
    }
}
