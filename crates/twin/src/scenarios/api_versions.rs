//! What a client learns first.

use bytes::{BufMut, BytesMut};
use milena_protocol::messages::ApiVersionsRequest;

use super::Scenario;
use crate::exchange::Exchange;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "api_versions/every_version",
        shows: "keys, ranges and features at each version; the answer's header has no tags at any",
        traps: &[2, 5, 8, 10],
        play: every_version,
    },
    Scenario {
        name: "api_versions/unknown_version",
        shows: "an unknown version is answered in version 0 with the range of this one key",
        traps: &[1],
        play: unknown_version,
    },
    Scenario {
        name: "api_versions/software_names",
        shows: "names and versions of client software outside the allowed pattern are refused",
        traps: &[4],
        play: software_names,
    },
    Scenario {
        name: "api_versions/asked_again",
        shows: "without SASL it may be asked at any time, and often",
        traps: &[],
        play: asked_again,
    },
];

fn named(name: &str, version: &str) -> ApiVersionsRequest {
    ApiVersionsRequest { client_software_name: name.into(), client_software_version: version.into() }
}

fn every_version(x: &mut Exchange) {
    for version in 0..=2 {
        x.ask(version, &ApiVersionsRequest::default());
    }
    for version in 3..=4 {
        x.ask(version, &named("twin", "1.0"));
    }
}

fn unknown_version(x: &mut Exchange) {
    for version in [5, 99, i16::MAX, -1] {
        x.send_frame(&format!("ApiVersions v{version}, the answer read as v0"), 18, 0, 1, |number| {
            let mut frame = BytesMut::new();
            frame.put_i16(18);
            frame.put_i16(version);
            frame.put_i32(number);
            frame.put_slice(b"\0\x04twin");
            frame
        });
        x.receive_raw();
    }
    x.ask(0, &ApiVersionsRequest::default());
}

fn software_names(x: &mut Exchange) {
    let good = [("a", "1"), ("apache-kafka-java", "4.3.1"), ("a.b-c", "1.2.3-SNAPSHOT")];
    let bad = [("", ""), ("", "1"), ("twin", ""), ("-twin", "1"), ("twin-", "1"), ("tw in", "1"), ("twin", "1 2")];
    for (name, version) in bad {
        x.ask(3, &named(name, version));
        x.ask(4, &named(name, version));
    }
    // The good ones only have to be good: what they answer stands elsewhere.
    for (name, version) in good {
        x.ask(3, &named(name, version));
    }
    x.send_raw("ApiVersions v3 without a body", 18, 3, &[]);
    x.receive_raw();
}

fn asked_again(x: &mut Exchange) {
    x.ask(4, &named("twin", "1"));
    x.ask(4, &named("", ""));
    x.ask(0, &ApiVersionsRequest::default());
}
