use milena_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use super::*;

impl Harness {
    fn unregister(&mut self, broker_id: i32) -> UnregisterBrokerResponse {
        let request = Request::UnregisterBroker(UnregisterBrokerRequest { broker_id });
        let Response::UnregisterBroker(response) = self.ask(request) else { panic!("answer") };
        response
    }
}

#[test]
fn a_broker_goes_with_its_leaderships_and_comes_back_when_it_registers() {
    let mut harness = Harness::with_brokers(2);
    harness.create(assigned("both", &[(0, &[2, 1])]));
    harness.create(assigned("one", &[(0, &[2]), (1, &[1])]));
    assert_eq!(harness.unregister(2).error_code, 0);
    assert!(harness.image().broker(NodeId(2)).is_none());
    let both = harness.partition("both", 0);
    assert_eq!((both.leader, both.isr), (NodeId(1), vec![NodeId(1)]));
    let orphan = harness.partition("one", 0);
    assert_eq!((orphan.leader, harness.partition("one", 1).leader), (NodeId::NONE, NodeId(1)));
    assert_eq!((orphan.isr, orphan.elr, orphan.last_known_elr), (vec![], vec![NodeId(2)], vec![NodeId(2)]));
    let beat = harness.beat(2, |request| request.broker_epoch = 1);
    assert_eq!(beat.error_code, ErrorCode::StaleBrokerEpoch.number());
    harness.start_broker(2);
    assert_eq!(harness.partition("one", 0).leader, NodeId(2));
}

#[test]
fn who_is_not_registered_cannot_be_unregistered() {
    let mut harness = Harness::with_brokers(1);
    let before = harness.records.len();
    let response = harness.unregister(7);
    assert_eq!(response.error_code, ErrorCode::BrokerIdNotRegistered.number());
    assert_eq!(response.error_message.as_deref(), Some("Broker ID 7 is not currently registered"));
    assert_eq!(harness.records.len(), before);
    assert_eq!(harness.unregister(1).error_code, 0);
}
