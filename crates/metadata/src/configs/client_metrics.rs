//! Settings of a subscription for client metrics (KIP-714).
//!
//! Source of names, types, defaults and validators: Kafka 4.3.1. Sorted by name.

use super::Setting;
use super::table::settings;

settings! { CLIENT_METRICS
    "interval.ms", Int, "300000", Medium, Any, ClusterWide, Acts, Public, "Time between a client's reports, in milliseconds.";
    "match", List, "", Medium, Words { known: &[], empty: true }, ClusterWide, Acts, Public, "Which clients: name=pattern pairs between commas.";
    "metrics", List, "", Medium, Words { known: &[], empty: true }, ClusterWide, Acts, Public, "Prefixes of the metrics to report.";
}
