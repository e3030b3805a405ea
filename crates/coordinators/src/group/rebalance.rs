//! How a generation forms: who is waited for, for how long, and who is left behind.
//!
//! Source: `GroupMetadataManager.prepareRebalance`, `completeClassicGroupJoin`, `expirePendingSync`,
//! `expireClassicGroupMemberHeartbeat`.

use bytes::Bytes;
use milena_base::Millis;
use milena_protocol::ErrorCode;
#[cfg(test)]
use milena_protocol::messages::JoinGroupResponse;

use super::classic::{ClassicGroup, FirstDelay, State, Step, Timer};
#[cfg(test)]
use super::planted::Bug;
use super::record;

impl ClassicGroup {
    /// Starts a rebalance, or goes on with the one that is being prepared.
    pub(super) fn prepare_or_complete(&mut self, step: &mut Step<'_>) {
        match self.state {
            State::Preparing { .. } => self.complete_if_all_joined(step),
            State::Empty | State::Completing | State::Stable => self.prepare(step),
        }
    }

    /// Calls everybody to join.
    pub(super) fn prepare(&mut self, step: &mut Step<'_>) {
        if self.state == State::Completing {
            self.drop_assignments(step);
        }
        self.pending_syncs.clear();
        step.timers.cancel(&sync_timer(step));
        let first = self.state == State::Empty;
        self.transition(step.now, State::Preparing { first });
        if first {
            let delay_ms = step.settings.initial_rebalance_delay_ms;
            let remaining_ms = self.rebalance_timeout_ms().saturating_sub(delay_ms).max(0);
            self.wait_for_more(step, FirstDelay { delay_ms, remaining_ms, joined: false });
        } else if self.has_all_joined() {
            self.complete_join(step);
        } else {
            self.wait_for_joins(step);
        }
    }

    /// The next generation, if nobody is missing. The delay of a first rebalance is always waited for.
    pub(super) fn complete_if_all_joined(&mut self, step: &mut Step<'_>) {
        if self.state == (State::Preparing { first: false }) && self.has_all_joined() {
            self.complete_join(step);
        }
    }

    /// [`Timer::Join`]: a first rebalance waits on while members keep coming, any other one goes on without those
    /// who are missing.
    pub(super) fn join_expired(&mut self, step: &mut Step<'_>) {
        match self.first_delay {
            Some(delay) if delay.joined && delay.remaining_ms > 0 => {
                let delay_ms = step.settings.initial_rebalance_delay_ms.min(delay.remaining_ms);
                let remaining_ms = (delay.remaining_ms - delay.delay_ms).max(0);
                self.wait_for_more(step, FirstDelay { delay_ms, remaining_ms, joined: false });
            }
            _ => self.complete_join(step),
        }
    }

    fn wait_for_more(&mut self, step: &mut Step<'_>, delay: FirstDelay) {
        self.first_delay = Some(delay);
        step.timers.set(join_timer(step), step.now + Millis(i64::from(delay.delay_ms)));
    }

    fn wait_for_joins(&mut self, step: &mut Step<'_>) {
        step.timers.set(join_timer(step), step.now + Millis(i64::from(self.rebalance_timeout_ms())));
    }

    /// Goes on with those who have joined. Dynamic members that did not are removed; static ones stay until their
    /// session ends.
    fn complete_join(&mut self, step: &mut Step<'_>) {
        self.first_delay = None;
        step.timers.cancel(&join_timer(step));
        let missing = self.members.iter().filter(|(_, member)| member.join.is_none() && member.instance_id.is_none());
        let missing: Vec<String> = missing.map(|(id, _)| id.clone()).collect();
        for member_id in missing {
            self.remove(step, &member_id, ErrorCode::UnknownMemberId);
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members are left and none has come: nobody could assign.
            return self.wait_for_joins(step);
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        #[cfg(test)]
        if step.settings.has(Bug::GenerationTwice) {
            self.generation -= 1;
        }
        self.protocol_name = self.select_protocol();
        self.subscribed_topics = self.subscriptions();
        self.pending_syncs.clear();
        if self.members.is_empty() {
            self.transition(step.now, State::Empty);
            let photograph = self.to_record(|_, _| Bytes::new());
            step.records.push(record::group(step.group_id, &photograph));
        } else {
            self.transition(step.now, State::Completing);
            self.announce_generation(step);
        }
    }

    /// A leader that did not join gives way to a member that did. Whether there is one.
    fn elect_joined_leader(&mut self) -> bool {
        let joined = |id: &String| self.members.get(id).is_some_and(|member| member.join.is_some());
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        match self.members.iter().find(|(_, member)| member.join.is_some()) {
            Some((id, _)) => {
                self.leader = Some(id.clone());
                true
            }
            None => false,
        }
    }

    fn announce_generation(&mut self, step: &mut Step<'_>) {
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for member_id in ids {
            if let Some(parked) = self.unpark_join(&member_id) {
                let response = self.joined(&member_id);
                #[cfg(test)]
                let response = self.with_planted_faults(step, parked, response);
                step.reply_join(parked, response);
            }
            if let Some(member) = self.members.get_mut(&member_id) {
                member.is_new = false;
                step.set_session(&member_id, member.session_timeout_ms);
            }
            self.pending_syncs.insert(member_id);
        }
        step.timers.set(sync_timer(step), step.now + Millis(i64::from(self.rebalance_timeout_ms())));
    }

    #[cfg(test)]
    fn with_planted_faults(
        &self,
        step: &mut Step<'_>,
        parked: super::member::Parked,
        mut response: JoinGroupResponse,
    ) -> JoinGroupResponse {
        if step.settings.has(Bug::AnsweredTwice) {
            step.reply_join(parked, response.clone());
        }
        if step.settings.has(Bug::TwoLeaders) && self.static_members.values().any(|id| *id == response.member_id) {
            response.leader.clone_from(&response.member_id);
        }
        response
    }

    /// A generation is given up before its assignment came: whoever waits for it must join again.
    fn drop_assignments(&mut self, step: &mut Step<'_>) {
        for (member_id, member) in &mut self.members {
            member.assignment = Bytes::new();
            if let Some(parked) = member.sync.take() {
                step.refuse_sync(parked, ErrorCode::RebalanceInProgress);
                step.set_session(member_id, member.session_timeout_ms);
            }
        }
    }

    /// [`Timer::Sync`]: members that joined and never asked for their assignment are removed.
    pub(super) fn sync_expired(&mut self, step: &mut Step<'_>) {
        let late = std::mem::take(&mut self.pending_syncs);
        if late.is_empty() || !matches!(self.state, State::Completing | State::Stable) {
            return;
        }
        for member_id in late {
            self.remove(step, &member_id, ErrorCode::UnknownMemberId);
        }
        self.prepare(step);
    }

    /// Sends everybody away who waits.
    pub(super) fn dismiss(&mut self, step: &mut Step<'_>, error: ErrorCode) {
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for member_id in ids {
            if let Some(parked) = self.unpark_join(&member_id) {
                step.refuse_join(parked, &member_id, error);
            }
            if let Some(parked) = self.members.get_mut(&member_id).and_then(|member| member.sync.take()) {
                step.refuse_sync(parked, error);
            }
        }
    }

    /// [`Timer::Session`]: a member that neither spoke nor waits for us is removed.
    pub(super) fn session_expired(&mut self, step: &mut Step<'_>, member_id: &str) {
        if self.members.get(member_id).is_some_and(|member| member.is_excused()) {
            return;
        }
        let was_member = self.members.contains_key(member_id);
        self.remove(step, member_id, ErrorCode::UnknownMemberId);
        match self.state {
            State::Preparing { .. } if self.has_all_joined() => self.complete_join(step),
            State::Stable | State::Completing if was_member => self.prepare(step),
            _ => {}
        }
    }
}

fn join_timer(step: &Step<'_>) -> Timer {
    Timer::Join { group: step.group_id.to_owned() }
}

pub(super) fn sync_timer(step: &Step<'_>) -> Timer {
    Timer::Sync { group: step.group_id.to_owned() }
}
