//! Which partitions a command is about, written as Kafka's tool does: `TOPIC`, or `TOPIC:0,1`.

use std::collections::BTreeSet;

use milena_protocol::TopicPartition;

/// A topic, or some of its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) topic: String,
    /// `None` is all of them.
    pub(crate) partitions: Option<BTreeSet<i32>>,
}

impl Scope {
    pub(crate) fn holds(&self, partition: &TopicPartition) -> bool {
        self.topic == partition.topic
            && self.partitions.as_ref().is_none_or(|partitions| partitions.contains(&partition.partition))
    }
}

pub(crate) fn parse(text: &str) -> Result<Scope, String> {
    let wrong = || format!("\"{text}\" is neither TOPIC nor TOPIC:PARTITION,PARTITION");
    let (topic, partitions) = match text.split_once(':') {
        None => (text, None),
        Some((topic, list)) => {
            let numbers = list.split(',').map(|number| number.trim().parse::<i32>().ok().filter(|number| *number >= 0));
            (topic, Some(numbers.collect::<Option<BTreeSet<i32>>>().ok_or_else(wrong)?))
        }
    };
    if topic.is_empty() { Err(wrong()) } else { Ok(Scope { topic: topic.to_owned(), partitions }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_stands_alone_or_with_partitions() {
        assert_eq!(parse("t"), Ok(Scope { topic: "t".to_owned(), partitions: None }));
        assert_eq!(parse("t:2,0"), Ok(Scope { topic: "t".to_owned(), partitions: Some([0, 2].into()) }));
        for wrong in ["", ":1", "t:", "t:a", "t:-1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
