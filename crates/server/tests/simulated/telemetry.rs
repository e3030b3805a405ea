//! Clients push their metrics, and whoever reads the node's own finds them: values, labels, and for how long.

use std::sync::Arc;
use std::time::Duration;

use milena_disk::MemoryDisk;
use milena_protocol::compression::{Codec, compress};
use milena_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use milena_protocol::messages::{
    ApiVersionsRequest, GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse,
    IncrementalAlterConfigsRequest, PushTelemetryRequest,
};
use milena_protocol::{ApiKey, ErrorCode, Uuid};
use tokio::time::sleep;

use crate::client::{Client, node_with};
use crate::metrics::told;
use crate::world::Network;

const LISTEN: (&str, &str) = ("metrics.listen", "127.0.0.1:9404");
/// What clients are asked for here, in milliseconds.
const INTERVAL_MS: u64 = 1000;

async fn subscribe(client: &mut Client, settings: &[(&str, &str)]) {
    let config = |(name, value): &(&str, &str)| AlterableConfig {
        name: (*name).to_owned(),
        config_operation: 0,
        value: Some((*value).to_owned()),
    };
    let resource = AlterConfigsResource {
        resource_type: 16,
        resource_name: "s".to_owned(),
        configs: settings.iter().map(config).collect(),
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    assert_eq!(client.ask(&request, 1).await.responses[0].error_code, 0);
    sleep(Duration::from_millis(100)).await;
}

async fn ask(client: &mut Client, client_instance_id: Uuid) -> GetTelemetrySubscriptionsResponse {
    client.ask(&GetTelemetrySubscriptionsRequest { client_instance_id }, 0).await
}

fn field(number: u8, contents: &[u8]) -> Vec<u8> {
    assert!(contents.len() < 128, "one byte of length");
    [&[number << 3 | 2, contents.len() as u8], contents].concat()
}

/// A sum that grew by `value` since the former push.
fn grown(name: &str, value: i64) -> Vec<u8> {
    let point = [&[6 << 3 | 1], &value.to_le_bytes()[..]].concat();
    let data = [&field(1, &point)[..], &[2 << 3, 1, 3 << 3, 1]].concat();
    field(1, &field(2, &field(2, &[field(1, name.as_bytes()), field(7, &data)].concat())))
}

async fn push(
    client: &mut Client,
    known: &GetTelemetrySubscriptionsResponse,
    codec: Codec,
    metrics: &[u8],
) -> ErrorCode {
    let request = PushTelemetryRequest {
        client_instance_id: known.client_instance_id,
        subscription_id: known.subscription_id,
        terminating: false,
        compression_type: codec.id() as i8,
        metrics: compress(codec, None, metrics).expect("it can be compressed"),
    };
    ErrorCode::from_number(client.ask(&request, 0).await.error_code)
}

async fn advertised(client: &mut Client) -> Vec<i16> {
    let versions = client.ask(&ApiVersionsRequest::default(), 2).await;
    versions.api_keys.iter().map(|api| api.api_key).filter(|key| [71, 72].contains(key)).collect()
}

#[tokio::test(start_paused = true)]
async fn what_clients_push_in_any_codec_is_told_with_who_they_are_until_they_are_quiet() {
    let network = Arc::new(Network::default());
    let running = node_with(&network, &MemoryDisk::new(), 9001, 1, &[LISTEN]).await;
    let mut client = Client::connect(&network, 9001);
    subscribe(&mut client, &[("metrics", "org.apache.kafka."), ("interval.ms", &INTERVAL_MS.to_string())]).await;
    let (client_software_name, client_software_version) = ("librdkafka".to_owned(), "2.15.1".to_owned());
    client.ask(&ApiVersionsRequest { client_software_name, client_software_version }, 3).await;
    let known = ask(&mut client, Uuid::ZERO).await;
    assert_eq!(
        (known.requested_metrics.as_slice(), known.push_interval_ms),
        (&["org.apache.kafka.".to_owned()][..], 1000)
    );
    for codec in Codec::ALL {
        let pushed = push(&mut client, &known, codec, &grown("org.apache.kafka.producer.sent.total", 7)).await;
        assert_eq!(pushed, ErrorCode::None, "{codec}");
        sleep(Duration::from_millis(INTERVAL_MS)).await;
    }
    let lines = told(&network).await;
    let labels = format!(
        "client_id=\"seam\",client_instance_id=\"{}\",client_software_name=\"librdkafka\",\
         client_software_version=\"2.15.1\",client_source_address=\"127.0.0.1\"",
        known.client_instance_id
    );
    for expected in [
        format!("org_apache_kafka_producer_sent_total{{{labels}}} 35.0"),
        "# TYPE org_apache_kafka_producer_sent counter".to_owned(),
        "milena_telemetry_instances 1".to_owned(),
        "milena_telemetry_received_total 5".to_owned(),
        "milena_telemetry_series 1".to_owned(),
    ] {
        assert!(lines.contains(&expected), "{expected} is not among {lines:#?}");
    }
    // The values outlive their connection: a program that ends pushes once more, and is read later.
    drop(client);
    sleep(Duration::from_secs(30)).await;
    let lines = told(&network).await;
    assert!(lines.contains(&"milena_telemetry_series 1".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"milena_telemetry_instances 0".to_owned()), "{lines:#?}");
    sleep(Duration::from_secs(31)).await;
    let lines = told(&network).await;
    assert!(!lines.iter().any(|line| line.contains("org_apache_kafka")), "{lines:#?}");
    assert!(lines.contains(&"milena_telemetry_series 0".to_owned()), "{lines:#?}");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn metrics_that_inflate_beyond_the_bound_are_refused() {
    let network = Arc::new(Network::default());
    let settings = [LISTEN, ("telemetry.max.bytes", "5000")];
    let running = node_with(&network, &MemoryDisk::new(), 9001, 1, &settings).await;
    let mut client = Client::connect(&network, 9001);
    subscribe(&mut client, &[("metrics", "*"), ("interval.ms", &INTERVAL_MS.to_string())]).await;
    let known = ask(&mut client, Uuid::ZERO).await;
    assert_eq!(known.telemetry_max_bytes, 5000);
    for codec in Codec::ALL {
        let error = push(&mut client, &known, codec, &vec![0; 1 << 20]).await;
        let expected = if codec == Codec::None || codec == Codec::Snappy {
            // These do not even arrive within the bound.
            ErrorCode::TelemetryTooLarge
        } else {
            ErrorCode::InvalidRecord
        };
        assert_eq!(error, expected, "{codec}");
        sleep(Duration::from_millis(INTERVAL_MS)).await;
    }
    let lines = told(&network).await;
    for expected in ["{error=\"INVALID_RECORD\"} 3", "{error=\"TELEMETRY_TOO_LARGE\"} 2"] {
        assert!(lines.contains(&format!("milena_telemetry_refused_total{expected}")), "{lines:#?}");
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn series_beyond_the_bound_are_counted_as_untold() {
    let network = Arc::new(Network::default());
    let running = node_with(&network, &MemoryDisk::new(), 9001, 1, &[LISTEN, ("telemetry.series.max", "20")]).await;
    let mut client = Client::connect(&network, 9001);
    let known = ask(&mut client, Uuid::ZERO).await;
    let names = ["org.apache.kafka.a", "org.apache.kafka.b", "org.apache.kafka.c"];
    let metrics: Vec<u8> = names.iter().flat_map(|name| grown(name, 1)).collect();
    assert_eq!(push(&mut client, &known, Codec::None, &metrics).await, ErrorCode::None);
    let lines = told(&network).await;
    for expected in ["milena_telemetry_series 2", "milena_telemetry_untold_total 1"] {
        assert!(lines.contains(&expected.to_owned()), "{lines:#?}");
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn trap_8_telemetry_is_advertised_where_somebody_can_read_it() {
    for (settings, expected) in
        [(&[LISTEN][..], &[71, 72][..]), (&[], &[]), (&[LISTEN, ("telemetry.series.max", "0")], &[])]
    {
        let network = Arc::new(Network::default());
        let running = node_with(&network, &MemoryDisk::new(), 9001, 1, settings).await;
        let mut client = Client::connect(&network, 9001);
        assert_eq!(advertised(&mut client).await, expected, "{settings:?}");
        // Whoever asks all the same is answered.
        let known = ask(&mut client, Uuid::ZERO).await;
        assert_eq!(known.error_code, 0);
        let is_read = !expected.is_empty();
        let error = push(&mut client, &known, Codec::None, b"no metrics").await;
        assert_eq!(error, if is_read { ErrorCode::InvalidRecord } else { ErrorCode::None }, "{settings:?}");
        running.stop().await;
    }
    assert_eq!((ApiKey::GetTelemetrySubscriptions as i16, ApiKey::PushTelemetry as i16), (71, 72));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_node_asks_for_the_same() {
    let (network, disk) = (Arc::new(Network::default()), MemoryDisk::new());
    let running = node_with(&network, &disk, 9001, 1, &[LISTEN]).await;
    let mut client = Client::connect(&network, 9001);
    subscribe(&mut client, &[("metrics", "a.,b."), ("match", "client_id=se.*")]).await;
    let before = ask(&mut client, Uuid([9; 16])).await;
    running.stop().await;
    let running = node_with(&network, &disk, 9001, 2, &[LISTEN]).await;
    let mut client = Client::connect(&network, 9001);
    let after = ask(&mut client, Uuid([9; 16])).await;
    assert_eq!(before, after);
    assert_eq!(after.requested_metrics.len(), 2);
    running.stop().await;
}
