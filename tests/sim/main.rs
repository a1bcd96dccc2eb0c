//! Worlds in a box: the shipped cores of relay and node on the shipped journal, over a simulated disk, network and clock, with everything going
//! wrong that a seed can think of. After every step the invariants of docs/ARCHITECTURE.md are looked at.
//!
//! `SIM_SEED=42 cargo test -p truc-sim` runs one seed; a failure prints its seed and the end of its log.
//!
//! Not simulated: sockets, certificates, sealing. Where a core takes values that a shell has verified, the world verifies what is cheap for real
//! (leaf hashes, inclusion, ledger-key lines, consistency) and lets the rest stand for itself.

#![cfg(test)]
#![expect(clippy::large_enum_variant, reason = "messages are few and short-lived; boxes would only blur them")]

mod book;
mod context;
mod cutover;
mod documents;
mod network;
mod node;
mod node_calls;
mod quiet;
mod relay;
mod relay_calls;
mod store;
mod wire;
mod world;

use context::{Faults, Sabotage};
use world::{Minutes, Steps, World};

/// Steps of one seed.
const STEPS: Steps = Steps(8_000);
/// Virtual time in which everything must come to rest once the world is healed.
const REST: Minutes = Minutes(10);
/// Seeds that nobody chose, beside those that once found something.
const FRESH_SEEDS: u64 = 2;

fn seeds() -> Vec<u64> {
    if let Ok(seed) = std::env::var("SIM_SEED") {
        return vec![seed.parse().expect("SIM_SEED is a number")];
    }
    let kept = include_str!("seeds.txt").lines().filter_map(|line| line.split('#').next()).map(str::trim);
    let mut seeds: Vec<u64> = kept.filter(|line| !line.is_empty()).map(|line| line.parse().unwrap()).collect();
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
    seeds.extend((0..FRESH_SEEDS).map(|n| (clock.as_secs() << 8) + n));
    seeds
}

#[test]
fn nothing_is_lost_doubled_or_forgotten_whatever_goes_wrong() {
    std::thread::scope(|scope| {
        let halves = seeds().into_iter().enumerate().fold([Vec::new(), Vec::new()], |mut halves, (n, seed)| {
            halves[n % 2].push(seed);
            halves
        });
        for half in halves {
            scope.spawn(move || {
                for seed in half {
                    let mut world = World::new(seed, Faults::all());
                    world.run_checked(STEPS);
                    world.heal();
                    world.run_until_quiet(REST);
                    eprintln!("{}", world.summary());
                }
            });
        }
    });
}

#[test]
fn without_faults_nothing_is_refused_or_sent_again() {
    let mut world = World::new(7, Faults::none());
    world.run_checked(Steps(3_000));
    world.heal();
    world.run_until_quiet(REST);
}

#[test]
fn a_seed_is_a_whole_story() {
    let live = |seed| {
        let mut world = World::new(seed, Faults::all());
        world.run_checked(Steps(2_500));
        world.heal();
        world.run_until_quiet(REST);
        world.log()
    };
    let (first, second) = (live(11), live(11));
    let differs = first.iter().zip(&second).position(|(a, b)| a != b);
    assert_eq!(differs, None, "{:?} against {:?}", differs.map(|n| &first[n]), differs.map(|n| &second[n]));
    assert_eq!(first.len(), second.len());
    assert_ne!(first, live(12));
}

/// Runs seeds with a bug put in until one of them is caught; the same seeds without the bug are clean.
#[track_caller]
fn is_caught(sabotage: Sabotage, by: &[&str]) {
    let mut caught = None;
    for seed in 1..=12 {
        let mut world = World::sabotaged(seed, Faults::all(), sabotage);
        let ended = world.try_run(Steps(3_000)).and_then(|()| {
            world.heal();
            world.try_run_until_quiet(REST)
        });
        if let Err(violation) = ended {
            caught = Some((seed, violation));
            break;
        }
    }
    let (seed, violation) = caught.unwrap_or_else(|| panic!("{sabotage:?} was not noticed in 12 seeds"));
    assert!(
        by.iter().any(|invariant| violation.contains(invariant)),
        "{sabotage:?} was noticed as something else: {violation}"
    );
    eprintln!("{sabotage:?}, seed {seed}: {violation}");
    let mut honest = World::new(seed, Faults::all());
    honest.run_checked(Steps(3_000));
    honest.heal();
    honest.run_until_quiet(REST);
}

#[test]
fn an_answer_before_the_sync_is_caught() {
    is_caught(Sabotage::AnswerBeforeSync, &["I1", "I5"]);
}

#[test]
fn a_lost_dedup_entry_is_caught() {
    is_caught(Sabotage::LostDedupEntry, &["I1", "I4"]);
}

#[test]
fn a_double_hand_over_is_caught() {
    is_caught(Sabotage::DoubleHandOver, &["I3"]);
}
