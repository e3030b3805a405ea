//! `milena demo`: the whole way of an event, on real sockets and a real log. It starts a node, creates a topic with
//! three partitions, sends events keyed by user, reads them with a group of two members, and holds what they received
//! against what was sent: every event exactly once, and in order for each user.
//!
//! ```text
//!   events or --input ──► producer ──► node ──► member 1 ──► verifier, figures ──► summary
//!                                          └──► member 2 ──┘
//! ```

mod events;
mod figures;
mod mark;
mod members;
mod sending;
mod summary;
mod verify;

use std::collections::BTreeMap;
use std::time::Duration;

use milena_client::admin::NewTopic;
use milena_client::{Admin, Cluster};
use milena_protocol::ErrorCode;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep_until, timeout};

use crate::commands::server;
use crate::connect::Target;
use crate::failure::Failure;
use crate::node;
use crate::numbers;
use crate::output::{Output, tell};
use crate::stop::Stop;
use figures::{Display, Figures};
use members::News;
use sending::{Progress, Sent};
use verify::Verifier;

/// See it work: start a node, send events, read them in a group, check every one
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Send the events of this file, one JSON object per line, instead of made-up ones; - is stdin
    #[arg(short, long, value_name = "FILE")]
    input: Option<String>,
    /// How many events to make up
    #[arg(short = 'n', long, default_value_t = 300_000, conflicts_with = "input", allow_negative_numbers = true, value_parser = numbers::positive::<u64>)]
    events: u64,
    /// How many made-up events to send in a second; 0 is as fast as it goes
    #[arg(long, default_value_t = 60_000, conflicts_with = "input")]
    rate: u64,
    /// Leave the node running until Ctrl-C
    #[arg(short, long)]
    keep: bool,
}

/// Runs on a node of its own, or with `--bootstrap` on a broker that runs already.
pub(crate) async fn run(arguments: Arguments, target: &Target, output: &Output) -> Result<(), Failure> {
    if target.bootstrap.is_some() {
        return show(&arguments, target, output, true).await;
    }
    let mut stop = Stop::listen()?;
    let directory = tempfile::tempdir().map_err(|error| Failure::io("no temporary directory", &error))?;
    let node = node::start(settings(directory.path())).await?;
    let target = Target { bootstrap: Some(node.address().to_owned()) };
    let shown = tokio::select! {
        shown = show(&arguments, &target, output, arguments.keep) => Some(shown),
        () = stop.ordered() => None,
    };
    if arguments.keep && shown.is_some() {
        tell(&format!("the node listens on {} until Ctrl-C", node.address()));
        stop.ordered().await;
    }
    let stopped = node.stop().await;
    shown.unwrap_or_else(|| Err(Failure::failed("interrupted"))).and(stopped)
}

/// A node for a moment: a free port, and a group that does not wait long for its second member.
fn settings(directory: &std::path::Path) -> BTreeMap<String, String> {
    let mut settings = server::defaults();
    let changes = [
        ("log.dirs", directory.display().to_string()),
        ("listeners", "PLAINTEXT://127.0.0.1:0".to_owned()),
        ("group.initial.rebalance.delay.ms", "500".to_owned()),
    ];
    settings.extend(changes.map(|(name, value)| (name.to_owned(), value)));
    settings
}

/// The demo itself. `stays` tells whether the broker can be asked afterwards.
async fn show(arguments: &Arguments, target: &Target, output: &Output, stays: bool) -> Result<(), Failure> {
    let started = std::time::Instant::now();
    let cluster = target.connect().await?;
    create_topic(&cluster).await?;
    let (news, inbox) = mpsc::channel(NEWS_MAX);
    let (stop, _) = watch::channel(false);
    let members: Vec<_> =
        (0..MEMBERS).map(|member| members::start(&cluster, member, started, news.clone(), stop.subscribe())).collect();
    drop(news);
    let mut table = Receiving { inbox, verifier: Verifier::default(), figures: Figures::new(started) };
    timeout(ASSIGNMENT_TIMEOUT, table.wait_for_assignment())
        .await
        .map_err(|_| Failure::failed("the group did not share its partitions in time; run it again"))??;
    let (progress, seen) = watch::channel(Progress::default());
    let sending = sending::start(&cluster, arguments, started, progress)?;
    let received = table.receive(sending, seen, arguments).await;
    stop.send_replace(true);
    table.inbox.close();
    for member in members {
        member.await.map_err(|_| Failure::failed("a member of the group has ended too early"))??;
    }
    let sent = received?;
    let verdict = table.verifier.verdict(&sent.expected);
    summary::print(
        &table.figures,
        table.verifier.keys(),
        &sent,
        &verdict,
        target.bootstrap.as_deref().filter(|_| stays),
        output,
    )?;
    summary::judge(&sent, &verdict)
}

async fn create_topic(cluster: &Cluster) -> Result<(), Failure> {
    let topic = NewTopic { name: TOPIC.to_owned(), partitions: Some(PARTITIONS), ..NewTopic::default() };
    match Admin::new(cluster).create_topic(&topic).await {
        Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => Err(Failure::failed(format!(
            "topic \"{TOPIC}\" exists already; delete it with `milena topic delete {TOPIC}`"
        ))),
        result => Ok(result?),
    }
}

/// What the members report, and what is made of it.
struct Receiving {
    inbox: mpsc::Receiver<News>,
    verifier: Verifier,
    figures: Figures,
}

impl Receiving {
    /// Waits until every partition has a reader and every member something to read.
    async fn wait_for_assignment(&mut self) -> Result<(), Failure> {
        while !self.figures.is_shared_by(MEMBERS) {
            match self.inbox.recv().await {
                Some(news) => self.take(news),
                None => return Err(Failure::failed("the members of the group have ended")),
            }
        }
        Ok(())
    }

    /// Takes in what arrives until all that was sent is there, or nothing has come for a while.
    async fn receive(
        &mut self,
        mut sending: JoinHandle<Result<Sent, Failure>>,
        progress: watch::Receiver<Progress>,
        arguments: &Arguments,
    ) -> Result<Sent, Failure> {
        let total = arguments.input.is_none().then_some(arguments.events);
        let mut display = Display::new(total);
        let mut ticks = interval(Duration::from_millis(200));
        let mut sent = None;
        let mut heard = Instant::now();
        while sent.as_ref().is_none_or(|sent: &Sent| self.verifier.distinct() < sent.expected.count) {
            tokio::select! {
                news = self.inbox.recv() => match news {
                    Some(news) => {
                        heard = Instant::now();
                        self.take(news);
                    }
                    None => break,
                },
                ended = &mut sending, if sent.is_none() => {
                    heard = Instant::now();
                    sent = Some(ended.map_err(|_| Failure::failed("sending has ended too early"))??);
                }
                _ = ticks.tick() => {
                    self.figures.sent = progress.borrow().sent;
                    display.show(&self.figures);
                }
                () = sleep_until(heard + QUIET), if sent.is_some() => break,
            }
        }
        self.figures.finish(progress.borrow().sent);
        display.finish(&self.figures);
        sent.ok_or_else(|| Failure::failed("the members of the group have ended"))
    }

    fn take(&mut self, news: News) {
        match news {
            News::Assigned { member, partitions } => self.figures.assign(member, &partitions),
            News::Released { member } => self.figures.assign(member, &[]),
            News::Received(batch) => {
                for event in &batch.events {
                    self.verifier.take(batch.partition, event);
                    self.figures.take(batch.partition, event.mark.map(|mark| mark.sent_us), batch.received_us);
                }
            }
        }
    }
}

/// Where the events go.
const TOPIC: &str = "user-events";
/// How many partitions it has.
const PARTITIONS: i32 = 3;
/// How many members share them.
const MEMBERS: usize = 2;
/// How many reports of members may wait; then they wait too.
const NEWS_MAX: usize = 64;
/// How long the group may take to form.
const ASSIGNMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// After so long without an event nothing more is expected.
const QUIET: Duration = Duration::from_secs(5);
