//! Groups, over `__consumer_offsets`.

use std::sync::Arc;

use milena_coordinators::group::{
    Context, DeletedTopic, Effect, Event, GroupShard, Matching, Request, Response, Settings, partition_for,
};
use milena_metadata::image::Image;
use milena_protocol::LeaderEpoch;
use tokio::time::Instant;

use super::{Kind, Shards};
use crate::node::Node;
use crate::work::MATCHING_TURN;
use crate::world::{World, on_pool};

/// The topic of groups and their offsets.
pub const GROUPS_TOPIC: &str = "__consumer_offsets";

impl<W: World> Kind<W> for GroupShard {
    const TOPIC: &'static str = GROUPS_TOPIC;

    fn empty(node: &Node<W>, _epoch: LeaderEpoch) -> GroupShard {
        GroupShard::new(node.settings.groups_with(node.changeable().assignment_interval_ms))
    }

    fn begin(&mut self, node: &Node<W>) {
        self.set_image(Image::clone(&node.image()), false, true);
    }

    fn door(node: &Node<W>) -> &Shards<W, GroupShard> {
        &node.shards
    }

    async fn carry_out(node: &Arc<Node<W>>, effect: Effect) -> Event {
        match effect {
            Effect::Match(matching) => matched(node, matching).await.into_event(),
        }
    }
}

/// Matches on the pool, with other expressions in turn.
async fn matched<W: World>(node: &Node<W>, mut matching: Matching) -> Matching {
    while !matching.is_done() {
        let _turn = node.memory.work.pattern_turn().await;
        matching = on_pool(&*node.world, move || {
            let begun = Instant::now();
            matching.run(|| begun.elapsed() < MATCHING_TURN);
            matching
        })
        .await;
    }
    matching
}

impl<W: World> Shards<W, GroupShard> {
    /// Asks the shard of a group.
    pub async fn ask_group(&self, groups: i32, group_id: &str, context: Context, request: Request) -> Response {
        self.ask(partition_for(group_id, groups), context, request).await
    }

    /// Hands every shard a newer image.
    pub(crate) async fn metadata_changed(&self, image: Image, has_new_topics: bool, have_topics_changed: bool) {
        self.tell(Event::Metadata { image, has_new_topics, have_topics_changed }).await;
    }

    /// Tells every shard what is in force from now on.
    pub(crate) async fn settings_changed(&self, settings: Settings) {
        self.tell(Event::Settings(settings)).await;
    }

    /// Tells every shard about topics that are gone.
    pub(crate) async fn topics_deleted(&self, topics: Vec<DeletedTopic>) {
        self.tell(Event::TopicsDeleted(topics)).await;
    }
}
