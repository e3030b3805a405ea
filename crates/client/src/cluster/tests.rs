//! Which addresses are dialled, in a cluster of one broker whose doors a test opens and closes.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use milena_protocol::header::{RequestHeader, response_frame};
use milena_protocol::messages::*;
use milena_protocol::wire::{Decoder, Segment};
use milena_protocol::{ApiKey, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::transport::{Dialing, Stream};

/// What a door does to whoever dials it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    Shut,
    /// Nobody answers.
    Silent,
}

/// The broker behind two doors: the one that clients are given, and the one that it advertises.
#[derive(Clone)]
struct Doors(Arc<Mutex<(Door, Door)>>);

impl Dial for Doors {
    fn dial(&self, address: &Address) -> Dialing {
        let (bootstrap, advertised) = *self.0.lock().unwrap();
        let door = if address.host == "bootstrap" { bootstrap } else { advertised };
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            match door {
                Door::Open => drop(tokio::spawn(serve(theirs))),
                Door::Shut => return Err(io::ErrorKind::ConnectionRefused.into()),
                Door::Silent => std::future::pending().await,
            }
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

impl Doors {
    fn new(bootstrap: Door, advertised: Door) -> Doors {
        Doors(Arc::new(Mutex::new((bootstrap, advertised))))
    }

    fn set(&self, bootstrap: Door, advertised: Door) {
        *self.0.lock().unwrap() = (bootstrap, advertised);
    }

    async fn connect(&self) -> Result<Cluster, Error> {
        let mut settings = ClusterSettings::new(vec![Address::new("bootstrap", 1)]);
        settings.dialer = Arc::new(self.clone());
        settings.contact_timeout = Duration::from_millis(200);
        Cluster::connect(settings).await
    }
}

/// Answers one request, and closes the door behind it: the next one has to dial again.
async fn serve(mut stream: DuplexStream) -> Option<()> {
    for _ in 0..2 {
        let size = stream.read_i32().await.ok()?;
        let mut frame = vec![0; usize::try_from(size).ok()?];
        stream.read_exact(&mut frame).await.ok()?;
        let header = RequestHeader::decode_prefix(&mut Decoder::new(frame.into())).ok()?;
        let key = ApiKey::from_number(header.key)?;
        let (version, id) = (header.version, header.correlation_id);
        let answer = match key {
            ApiKey::ApiVersions => response_frame(key, &versions(), version, id),
            _ => response_frame(key, &metadata(), version, id),
        };
        for segment in answer.ok()? {
            let Segment::Bytes(bytes) = segment else { unreachable!("no answer refers to a file") };
            stream.write_all(&bytes).await.ok()?;
        }
    }
    Some(())
}

fn versions() -> ApiVersionsResponse {
    let api =
        |key, min_version, max_version| api_versions_response::ApiVersion { api_key: key, min_version, max_version };
    let metadata = api(ApiKey::Metadata as i16, MetadataRequest::OLDEST, MetadataRequest::NEWEST);
    ApiVersionsResponse { api_keys: vec![metadata], ..Default::default() }
}

fn metadata() -> MetadataResponse {
    let broker = metadata_response::MetadataResponseBroker {
        node_id: 1,
        host: "advertised".to_owned(),
        port: 2,
        ..Default::default()
    };
    MetadataResponse { brokers: vec![broker], ..Default::default() }
}

#[tokio::test]
async fn brokers_that_are_named_and_not_there_are_told_with_their_addresses() {
    for (door, why) in [(Door::Shut, "connection refused"), (Door::Silent, "no answer within 200ms")] {
        let error = Doors::new(Door::Open, door).connect().await.err().expect("nobody is there");
        assert!(matches!(error, Error::Unreached { .. }) && error.is_unreachable() && !error.is_retriable());
        let told = error.to_string();
        assert!(told.starts_with("bootstrap:1 answers, but") && told.contains("advertised:2 (broker 1)"), "{told}");
        assert!(told.ends_with(why), "{told}");
    }
}

#[tokio::test]
async fn a_broker_that_was_not_reached_is_tried_again_when_nobody_else_is_there() {
    let doors = Doors::new(Door::Open, Door::Open);
    let cluster = doors.connect().await.unwrap();
    cluster.refresh(Topics::All).await.unwrap();
    doors.set(Door::Open, Door::Shut);
    assert_eq!(asked(&cluster).await, "bootstrap:1");
    doors.set(Door::Open, Door::Open);
    assert_eq!(asked(&cluster).await, "bootstrap:1", "for a while others are preferred");
    doors.set(Door::Shut, Door::Open);
    assert_eq!(asked(&cluster).await, "advertised:2");
    doors.set(Door::Open, Door::Open);
    assert_eq!(asked(&cluster).await, "advertised:2", "it is back");
}

/// Whom a request that anybody can answer goes to. Its connection is used up by it.
async fn asked(cluster: &Cluster) -> String {
    let connection = cluster.any().await.unwrap();
    connection.call(&MetadataRequest::default()).await.unwrap();
    while !connection.is_closed() {
        tokio::task::yield_now().await;
    }
    connection.address().to_string()
}
