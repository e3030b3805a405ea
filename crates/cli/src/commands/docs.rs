//! `milena docs`: what this binary serves, as data: from it the reference pages are made and checked.

use milena_metadata::configs::{self, Dynamic, Effect, Kind, Setting, Visibility};
use milena_server::OWN_KEYS;
use milena_server::dispatch::SERVED;
use milena_server::metrics::METRICS;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{self, Output};

/// Print settings, metrics and APIs of this binary
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// As JSON, the only form there is; so is --output json
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    if !arguments.json && !output.is_json() {
        return Err(Failure::usage("for people there is docs/reference; for programs, ask with --json"));
    }
    output.line(&output::json(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "settings": KINDS.into_iter().flat_map(|(kind, name)| settings(kind, name)).collect::<Vec<Value>>(),
        "own_settings": OWN_KEYS.iter().map(|own| json!({"name": own.name, "default": own.default, "doc": own.doc}))
            .collect::<Vec<Value>>(),
        "metrics": METRICS.iter().map(|metric| json!({
            "name": metric.name, "kind": metric.kind.name(), "labels": metric.labels, "doc": metric.doc,
        })).collect::<Vec<Value>>(),
        "apis": SERVED.iter().map(|key| json!({
            "key": *key as i16, "name": key.name(), "oldest": key.oldest(), "newest": key.newest(),
        })).collect::<Vec<Value>>(),
    }))?)
}

const KINDS: [(Kind, &str); 4] =
    [(Kind::Topic, "topic"), (Kind::Broker, "broker"), (Kind::Group, "group"), (Kind::ClientMetrics, "client-metrics")];

fn settings(kind: Kind, kind_name: &str) -> impl Iterator<Item = Value> {
    configs::table(kind).iter().map(move |setting| described(kind_name, setting))
}

fn described(kind: &str, setting: &Setting) -> Value {
    let effect = match setting.effect {
        Effect::Acts => "acts",
        Effect::Fixed => "fixed",
        Effect::NoEffect => "no effect",
    };
    let changes = match setting.dynamic {
        Dynamic::ReadOnly => "at a restart",
        Dynamic::PerBroker => "at run time, of one broker",
        Dynamic::ClusterWide => "at run time",
    };
    json!({
        "kind": kind, "name": setting.name, "default": setting.default, "effect": effect, "changes": changes,
        "public": setting.visibility == Visibility::Public, "doc": setting.doc,
    })
}
