//! What must hold at every moment, and what must hold once everything has come to rest.

use truc_evidence::Attested;
use truc_ledger::Position;
use truc_node::core::{CodeState, Key, PairState, Step};
use truc_proto::{AgencyId, EventUri, Reason, Role};
use truc_relay::core::{Cursor, Effect, Input, Reply};

use crate::{
    context::{Context, RELAY},
    node::Node,
    relay::relay_key,
    world::World,
};

/// After every step: each ledger's newest durable checkpoint covers all that left (I1), and is one history with one seen before (I5).
pub(crate) fn always(world: &mut World) {
    let World { cx, relay, nodes, .. } = world;
    if let Some(live) = &relay.live {
        growing(cx, RELAY, &live.store.ledger);
    }
    for node in nodes {
        if let Some(live) = &node.live {
            growing(cx, node.id, &live.store.ledger);
        }
    }
}

fn growing(cx: &mut Context, machine: usize, ledger: &truc_ledger::Ledger) {
    let head = ledger.head();
    if head.position < Position(cx.book.promised_of(machine)) {
        cx.book.violated(format!("I1: machine {machine} stands at {}, behind what left it", head.position));
    }
    // One pair of checkpoints in turn, with a real proof: all pairs at every step would take for ever.
    if let Some((size, root)) = cx.book.checkpoint_in_turn(machine) {
        let proof = ledger.consistency(size, head.size);
        let holds = proof.is_ok_and(|proof| {
            truc_ledger::merkle::verify_consistency(size, &root, head.size, &head.root, &proof).is_ok()
        });
        if !holds {
            cx.book.violated(format!(
                "I5: machine {machine}'s trees of {size} and {} leaves are not one history",
                head.size
            ));
        }
    }
}

/// What is not yet as it must become.
pub(crate) fn unrest(world: &mut World) -> Vec<String> {
    let mut unrest = Vec::new();
    for node in &world.nodes {
        unrest_of(node, &mut unrest);
    }
    let names = world.cx.map.nodes.clone();
    let Some(live) = &mut world.relay.live else {
        unrest.push("the relay is off".into());
        return unrest;
    };
    if live.store.core.open_envelopes() > 0 {
        unrest.push(format!("{} envelopes are open at the relay", live.store.core.open_envelopes()));
    }
    if live.store.core.unsigned_leaves() > 0 {
        unrest.push(format!("{} leaves of the relay are not final", live.store.core.unsigned_leaves()));
    }
    if live.store.core.unattested_leaves() > 0 {
        let waiting = live.store.core.unattested_leaves();
        unrest.push(format!("{waiting} leaves of the relay wait for a time-stamp or cosignatures"));
    }
    for node in names {
        let pull = Input::Pull { node: node.clone(), cursor: Cursor::default(), limit: 1_000 };
        for effect in live.store.core.handle(world.cx.now, pull) {
            if let Effect::Reply(Reply::Page(page)) = effect
                && (!page.waiting.is_empty() || !page.deliveries.is_empty())
            {
                unrest.push(format!(
                    "{} envelopes and {} deliveries wait for {node}",
                    page.waiting.len(),
                    page.deliveries.len()
                ));
            }
        }
    }
    unrest
}

fn unrest_of(node: &Node, unrest: &mut Vec<String>) {
    let id = node.id;
    let Some(live) = &node.live else { return unrest.push(format!("node {id} is off")) };
    let core = &live.store.core;
    if core.unattested_leaves() > 0 {
        let waiting = core.unattested_leaves();
        unrest.push(format!("{waiting} leaves of node {id} wait for a time-stamp or cosignatures"));
    }
    if node.office.waiting() > 0 {
        unrest.push(format!("{} requests at node {id} have no answer", node.office.waiting()));
    }
    for sent in core.sent().values().filter(|sent| !sent.is_settled()) {
        let states: Vec<_> = sent.pairs.iter().map(|(code, pair)| format!("{code} {:?}", pair.state)).collect();
        unrest.push(format!("{} of node {id} is not settled: {}", sent.key, states.join(", ")));
    }
    for sent in core.sent().values() {
        for (code, to) in sent.replacements() {
            unrest.push(format!("{} for {code} is still to be sealed anew to {to}", sent.key));
        }
    }
    for sent in core.sent().values().filter(|sent| sent.is_settled() && sent.needs_offer()) {
        unrest.push(format!("the relay's own answer about {} is missing at node {id}", sent.key));
    }
    for received in core.received().values().filter(|received| received.needs_opening()) {
        unrest.push(format!("{} is not opened at node {id}", received.key));
    }
    for unsent in core.unsent().values() {
        let sent = core.find_sent(&unsent.key);
        let states: Vec<_> = sent
            .iter()
            .flat_map(|sent| &sent.pairs)
            .map(|(code, pair)| format!("{code} {:?} {:?}", pair.state, pair.reason))
            .collect();
        let relayed = sent.and_then(|sent| sent.relayed_at);
        let (stage, states) = (unsent.stage, states.join(", "));
        unrest.push(format!(
            "a leaf of node {id} about {} is still to be shown: {stage:?}, relayed {relayed:?}, {states}",
            unsent.key
        ));
    }
}

/// Authorities and witnesses came and went; in the end everybody holds what others signed under a checkpoint with all that was wanted.
fn check_attested(world: &World, wrong: &mut Vec<String>) {
    let wanted = world.cx.said(RELAY, true, Attested::NONE).wanted();
    for node in &world.nodes {
        let Some(core) = node.live.as_ref().map(|live| &live.store.core) else { continue };
        let sent = core.sent().values().map(|sent| (&sent.key, &sent.finals));
        let received = core.received().values().map(|received| (&received.key, &received.finals));
        for (key, finals) in sent.chain(received) {
            let lacking: Vec<Attested> =
                finals.values().map(|at| at.attested).filter(|attested| !attested.covers(wanted)).collect();
            if !lacking.is_empty() {
                wrong.push(format!(
                    "of {} proofs about {key} at node {} not all have {wanted:?}: {lacking:?}",
                    finals.len(),
                    node.id
                ));
            }
        }
    }
}

/// Everything is at rest: do both sides say the same?
pub(crate) fn check(world: &mut World) {
    let mut wrong = Vec::new();
    let said: Vec<(AgencyId, Key)> =
        world.cx.book.answers().map(|(sender, key)| (sender.clone(), key.clone())).collect();
    for (sender, key) in said {
        let node = &world.nodes[world.cx.map.codes[&sender] - 1];
        if node.live.as_ref().is_none_or(|live| live.store.core.find_sent(&key).is_none()) {
            wrong.push(format!("I1: {sender} was told that {key} is accepted, and nobody knows it"));
        }
    }
    check_relays_word(world, &mut wrong);
    check_attested(world, &mut wrong);
    for node in &world.nodes {
        for sent in node.live.iter().flat_map(|live| live.store.core.sent().values()) {
            for (code, pair) in &sent.pairs {
                let at_recipient = state_at(world, &sent.key, code);
                if let Some(why) = disagree(pair.state, pair.reason, at_recipient) {
                    wrong.push(format!(
                        "I2: {} to {code}: the sender has {:?}, the recipient {at_recipient:?}: {why}",
                        sent.key, pair.state
                    ));
                }
                let replacement = pair.superseded_by.map(|envelope| Key { sender: sent.key.sender.clone(), envelope });
                let replaced = replacement.and_then(|key| {
                    let to = pair.successor.as_ref().unwrap_or(code);
                    state_at(world, &key, to)
                });
                if delivered(at_recipient) && delivered(replaced) {
                    wrong.push(format!("I2: {} to {code} arrived, and so did the envelope that replaces it", sent.key));
                }
            }
            for step in &sent.steps {
                let live = node.live.as_ref().expect("at rest");
                let final_here = live.store.core.is_final(step, &sent.finals);
                if !final_here && !sent.pairs.values().all(|pair| pair.state == PairState::Failed) {
                    let states: Vec<_> = sent
                        .pairs
                        .iter()
                        .map(|(code, pair)| format!("{code} {:?} {:?}", pair.state, pair.reason))
                        .collect();
                    wrong.push(format!(
                        "I7: {:?} by {:?} of {} is not final at its sender: {}",
                        step.event,
                        step.actor,
                        sent.key,
                        states.join(", ")
                    ));
                }
            }
        }
        for received in node.live.iter().flat_map(|live| live.store.core.received().values()) {
            let core = &node.live.as_ref().expect("at rest").store.core;
            for step in received.steps.iter().filter(|step| !core.is_final(step, &received.finals)) {
                let (event, role, key) = (step.event, step.role, &received.key);
                wrong.push(format!("I7: {event:?} in the role {role:?} about {key} is not final at node {}", node.id));
            }
        }
        for (key, code) in world.cx.book.confirmed_at(node.id) {
            let times = world.cx.book.hand_overs(node.id, key, code);
            if times != 1 {
                wrong.push(format!("I3: {key} was handed over to {code} and its journal has that {times} times"));
            }
        }
    }
    wrong.into_iter().for_each(|why| world.cx.book.violated(why));
}

/// Whoever sent what the relay accepted holds the relay's own word for it, however it was overtaken.
fn check_relays_word(world: &mut World, wrong: &mut Vec<String>) {
    let World { cx, relay, nodes, .. } = world;
    let Some(relay) = &mut relay.live else { return };
    for sent in nodes.iter().filter_map(|node| node.live.as_ref()).flat_map(|live| live.store.core.sent().values()) {
        let asked = Input::Find(vec![relay_key(&sent.key)]);
        let accepted = relay.store.core.handle(cx.now, asked).into_iter().any(|effect| match effect {
            Effect::Reply(Reply::Found(found)) => found.into_iter().flatten().any(|found| found.accepted),
            _ => false,
        });
        let told = |step: &Step| (step.event, step.role) == (EventUri::RelayAcceptance, Role::Relay);
        if accepted != sent.steps.iter().any(told) {
            wrong.push(format!("I7: accepted by the relay: {accepted}; its sender holds otherwise about {}", sent.key));
        }
    }
}

pub(crate) fn state_at(world: &World, key: &Key, code: &AgencyId) -> Option<CodeState> {
    let node = &world.nodes[world.cx.map.codes.get(code)? - 1];
    Some(node.live.as_ref()?.store.core.find_received(key)?.codes.get(code)?.state)
}

fn delivered(state: Option<CodeState>) -> bool {
    matches!(state, Some(CodeState::Consigned | CodeState::HandedOver | CodeState::HandoverFailed))
}

/// What the sender shows must be what happened.
fn disagree(sender: PairState, reason: Option<Reason>, recipient: Option<CodeState>) -> Option<&'static str> {
    match (sender, recipient) {
        (PairState::Consigned, Some(CodeState::Consigned)) => None,
        (PairState::HandedOver, Some(CodeState::HandedOver)) => None,
        (PairState::Failed, Some(CodeState::HandoverFailed)) if reason == Some(Reason::RefusedBySystem) => None,
        (PairState::Failed, None | Some(CodeState::Failed)) if reason.is_some() => None,
        (PairState::Consigned, Some(CodeState::HandoverFailed)) => None,
        (PairState::Failed, _) if reason.is_none() => Some("a failure without a reason is not visible"),
        (PairState::Failed, _) => Some("delivered, and the sender believes that it failed"),
        _ => Some("they contradict each other"),
    }
}
