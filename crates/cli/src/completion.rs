//! What a shell offers when somebody presses Tab: commands and options from the command line's definition, names of topics,
//! groups and transactional ids from the cluster that the line typed so far is about.

mod bash;

use std::ffi::OsStr;
use std::time::Duration;

use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{Elvish, Fish, Powershell, Shells, Zsh};
use milena_client::Admin;
use milena_client::admin::TransactionFilter;

use crate::connect::Target;

/// Set by the scripts of `milena completions`: which shell asks.
pub(crate) const VARIABLE: &str = "MILENA_COMPLETE";

/// The shells that can ask.
pub(crate) const SHELLS: Shells<'static> = Shells(&[&bash::Bash, &Elvish, &Fish, &Powershell, &Zsh]);

/// Answers a shell and ends the process, if it is a shell that asks.
pub(crate) fn answer(command: fn() -> clap::Command) {
    CompleteEnv::with_factory(command).var(VARIABLE).shells(SHELLS).complete();
}

/// Names of topics; those that the cluster keeps for itself only once an underscore is typed.
pub(crate) fn topics() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let is_hidden = |name: &str| name.starts_with("__") && !typed.to_string_lossy().starts_with('_');
        let names = ask(async |admin| admin.list_topics().await.map(|found| found.into_iter().map(|topic| topic.name)));
        candidates(typed, names.into_iter().flatten().filter(|name| !is_hidden(name)))
    })
}

/// Ids of groups.
pub(crate) fn groups() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let ids = ask(async |admin| admin.list_groups().await.map(|found| found.into_iter().map(|group| group.group)));
        candidates(typed, ids.into_iter().flatten())
    })
}

/// Names of client-metrics subscriptions.
pub(crate) fn client_metrics() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let names = ask(async |admin| admin.list_client_metrics().await);
        candidates(typed, names.into_iter().flatten())
    })
}

/// Ids of transactional producers.
pub(crate) fn transactional_ids() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let ids = ask(async |admin| {
            let found = admin.list_transactions(&TransactionFilter::default()).await;
            found.map(|found| found.into_iter().map(|listing| listing.transactional_id))
        });
        candidates(typed, ids.into_iter().flatten())
    })
}

fn candidates(typed: &OsStr, names: impl Iterator<Item = String>) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    names.filter(|name| name.starts_with(&*typed)).map(CompletionCandidate::new).collect()
}

/// The cluster's answer, if there is one soon. A shell has no place for an error: it offers nothing then.
fn ask<T>(question: impl AsyncFnOnce(Admin) -> Result<T, milena_client::Error>) -> Option<T> {
    let words = bash::line().unwrap_or_else(|| std::env::args().skip_while(|word| word != "--").collect());
    let target = Target { bootstrap: bootstrap(words.into_iter()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let answered = async {
            let cluster = target.connect().await.ok()?;
            question(Admin::new(&cluster)).await.ok()
        };
        tokio::time::timeout(PATIENCE, answered).await.ok().flatten()
    })
}

/// The value of `--bootstrap` in a line that is not finished yet.
fn bootstrap(mut words: impl Iterator<Item = String>) -> Option<String> {
    while let Some(word) = words.next() {
        if word == "-b" || word == "--bootstrap" {
            return words.next();
        }
        let value = word.strip_prefix("--bootstrap=").or_else(|| word.strip_prefix("-b"));
        if let Some(value) = value {
            return Some(value.to_owned());
        }
    }
    None
}

/// Whoever pressed Tab waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_is_found_in_a_line_that_is_not_finished() {
        let found = |line: &str| bootstrap(line.split(' ').map(str::to_owned));
        assert_eq!(found("milena consume -b one:1 us"), Some("one:1".to_owned()));
        assert_eq!(found("milena --bootstrap two:2 consume us"), Some("two:2".to_owned()));
        assert_eq!(found("milena --bootstrap=three:3 consume us"), Some("three:3".to_owned()));
        assert_eq!(found("milena -bfour:4 consume us"), Some("four:4".to_owned()));
        assert_eq!(found("milena consume us -b"), None);
    }
}
