//! What a broker does with frames before it knows what they ask.

use bytes::{BufMut, BytesMut};
use milena_protocol::messages::{FetchRequest, HeartbeatRequest, MetadataRequest};

use super::Scenario;
use super::requests::{fetch, from, metadata_of};
use crate::exchange::Exchange;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "connection/unknown_key",
        shows: "a key that no broker knows closes the connection",
        traps: &[6],
        play: unknown_key,
    },
    Scenario {
        name: "connection/unknown_version",
        shows: "a version that the broker does not know closes the connection, for every key but ApiVersions",
        traps: &[6],
        play: unknown_version,
    },
    Scenario {
        name: "connection/malformed_body",
        shows: "a body that ends too early, or claims more than it has, closes the connection",
        traps: &[11],
        play: malformed_body,
    },
    Scenario {
        name: "connection/trailing_bytes",
        shows: "what a broker does with bytes behind the message",
        traps: &[11],
        play: trailing_bytes,
    },
    Scenario {
        name: "connection/frame_sizes",
        shows: "a negative size, an absurd size and an empty frame close the connection",
        traps: &[11],
        play: frame_sizes,
    },
    Scenario {
        name: "connection/controller_apis",
        shows: "keys that only a controller's listener serves",
        traps: &[6],
        play: controller_apis,
    },
    Scenario {
        name: "connection/answers_keep_order",
        shows: "requests sent at once are answered in their order, also behind a long poll",
        traps: &[7],
        play: answers_keep_order,
    },
    Scenario {
        name: "connection/client_ids",
        shows: "a client id may be null, empty or long, and unknown tags in a header are skipped",
        traps: &[3],
        play: client_ids,
    },
    Scenario { name: "connection/split_frames", shows: "a frame may arrive in pieces", traps: &[], play: split_frames },
];

fn unknown_key(x: &mut Exchange) {
    for key in [-1, 1000, i16::MAX] {
        x.send_raw(&format!("key {key} v0"), key, 0, &[]);
        x.receive_raw();
    }
}

fn unknown_version(x: &mut Exchange) {
    // Below and above what Kafka 4.3.1 serves.
    let past = [(0, 2), (0, 14), (1, 3), (1, 19), (2, 0), (2, 12), (3, 14), (3, -1), (8, 1), (9, 0), (11, 10)];
    for (key, version) in past {
        x.send_raw(&format!("key {key} v{version}"), key, version, &[0; 64]);
        x.receive_raw();
    }
}

fn malformed_body(x: &mut Exchange) {
    // A negative count is read as null, which asks for all topics.
    x.only_mine();
    x.send_raw("Metadata v4 without a body", 3, 4, &[]);
    x.receive_raw();
    x.send_raw("Metadata v4 with two billion topics", 3, 4, &[0x7f, 0xff, 0xff, 0xff, 0, 0]);
    x.receive_raw();
    x.send_raw("Metadata v4 with −2 topics", 3, 4, &[0xff, 0xff, 0xff, 0xfe, 1]);
    x.receive_raw();
    x.send_raw("Metadata v4 with a name that is longer than the frame", 3, 4, &[0, 0, 0, 1, 0, 9, b'a', 1]);
    x.receive_raw();
    x.send_raw("Metadata v4 with a null name", 3, 4, &[0, 0, 0, 1, 0xff, 0xff, 1]);
    x.receive_raw();
    x.send_raw("FindCoordinator v0 with a null key", 10, 0, &[0xff, 0xff]);
    x.receive_raw();
    x.send_raw("Metadata v9 whose tagged fields do not end", 3, 9, &[1, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    x.receive_raw();
}

fn trailing_bytes(x: &mut Exchange) {
    x.send_raw("Metadata v1 of no topic, and three bytes", 3, 1, &[0, 0, 0, 0, 1, 2, 3]);
    x.receive_raw();
    x.send_raw("Heartbeat v0, and one byte", 12, 0, &[0, 1, b'g', 0, 0, 0, 1, 0, 1, b'm', 9]);
    x.receive_raw();
}

fn frame_sizes(x: &mut Exchange) {
    for (shown, bytes) in [
        ("size −1", &[0xff, 0xff, 0xff, 0xff][..]),
        ("size 0", &[0, 0, 0, 0]),
        ("size 2 147 483 647", &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
        ("size 104 857 601, one more than socket.request.max.bytes", &[0x06, 0x40, 0, 1, 0, 3, 0, 0]),
        ("size 4: less than a header", &[0, 0, 0, 4, 0, 3, 0, 0]),
        ("the beginning of an HTTP request", b"GET / HTTP/1.1\r\n\r\n"),
        ("the beginning of a TLS handshake", &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
    ] {
        x.send_garbage(shown, bytes);
        x.receive_raw();
    }
}

fn controller_apis(x: &mut Exchange) {
    for (name, key, version) in
        [("Vote", 52, 0), ("BeginQuorumEpoch", 53, 0), ("BrokerRegistration", 62, 0), ("BrokerHeartbeat", 63, 0)]
    {
        x.send_raw(&format!("{name} v{version}"), key, version, &[0; 64]);
        x.receive_raw();
    }
    // Removed with ZooKeeper.
    for key in 4..=7 {
        x.send_raw(&format!("key {key} v0"), key, 0, &[0; 64]);
        x.receive_raw();
    }
}

fn answers_keep_order(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let mut poll = fetch(&topic, vec![from(0, 0)]);
    (poll.max_wait_ms, poll.min_bytes) = (300, 1);
    x.send(12, &poll);
    x.send(0, &HeartbeatRequest { group_id: x.name("none"), ..HeartbeatRequest::default() });
    x.send(1, &metadata_of_nothing());
    x.receive::<FetchRequest>();
    x.receive::<HeartbeatRequest>();
    x.receive::<MetadataRequest>();
}

fn metadata_of_nothing() -> MetadataRequest {
    MetadataRequest { allow_auto_topic_creation: true, ..metadata_of(&[]) }
}

fn client_ids(x: &mut Exchange) {
    let long = "c".repeat(i16::MAX as usize);
    for client_id in [None, Some(""), Some("ünïcödé"), Some(long.as_str())] {
        x.called(client_id).ask(1, &metadata_of_nothing());
        x.called(client_id).ask(9, &metadata_of_nothing());
    }
    x.send_frame("Metadata v9 of no topic with an unknown tag in its header", 3, 9, 1, |number| {
        let mut frame = BytesMut::from(&[0, 3, 0, 9][..]);
        frame.put_i32(number);
        frame.put_slice(&[0xff, 0xff, 1, 77, 2, 0xca, 0xfe, 1, 1, 0, 0, 0]);
        frame
    });
    x.receive_raw();
}

fn split_frames(x: &mut Exchange) {
    x.send_frame("Metadata v1 of no topic, in seven pieces", 3, 1, 7, |number| {
        let mut frame = BytesMut::from(&[0, 3, 0, 1][..]);
        frame.put_i32(number);
        frame.put_slice(&[0xff, 0xff, 0, 0, 0, 0]);
        frame
    });
    x.receive_raw();
}
