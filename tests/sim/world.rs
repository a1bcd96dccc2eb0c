//! One relay, three nodes, a bad network and worse luck. The seed decides everything.

use std::{panic::Location, time::Duration};

use truc_node::core::Input;

use crate::{
    context::{Context, Event, Faults, RELAY, Sabotage},
    network::Message,
    node::Node,
    quiet,
    relay::Relay,
    store::Dead,
};

/// A number of steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps(pub(crate) u64);
/// Virtual minutes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Minutes(pub(crate) u64);

/// How much of the log a failure prints.
const LOG_TAIL: usize = 100;
const CAPACITY: u64 = 256 << 20;

/// See the module.
pub(crate) struct World {
    seed: u64,
    pub(crate) cx: Context,
    pub(crate) relay: Relay,
    pub(crate) nodes: Vec<Node>,
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        Self::sabotaged(seed, faults, Sabotage::None)
    }

    pub(crate) fn sabotaged(seed: u64, faults: Faults, sabotage: Sabotage) -> Self {
        Self::over(seed, Context::new(seed, faults, sabotage))
    }

    /// All machines about to start.
    pub(crate) fn over(seed: u64, mut cx: Context) -> Self {
        let nodes: Vec<Node> = (1..=cx.map.nodes.len()).map(Node::new).collect();
        for machine in 0..=nodes.len() {
            cx.after(machine as u64, Event::Start { machine });
        }
        for node in 1..=nodes.len() {
            cx.after(500 + node as u64, Event::Office { node });
        }
        if cx.faults.blow_every_ms > 0 {
            cx.after(2_000 + cx.faults.blow_every_ms, Event::Blow);
        }
        Self { seed, cx, relay: Relay::new(), nodes }
    }

    /// Steps, with the invariants looked at after each.
    #[track_caller]
    pub(crate) fn run_checked(&mut self, steps: Steps) {
        let ended = self.try_run(steps);
        self.explain(ended, Location::caller());
    }

    pub(crate) fn try_run(&mut self, steps: Steps) -> Result<(), String> {
        (0..steps.0).try_for_each(|_| self.step())
    }

    /// No more faults, no new work; what is broken is mended.
    pub(crate) fn heal(&mut self) {
        self.cx.healed = true;
        self.cx.say(format_args!("healed"));
        self.cx.cut.fill(false);
        self.relay.disk.set_capacity(CAPACITY);
        for node in &mut self.nodes {
            node.disk.set_capacity(CAPACITY);
            if node.key_away {
                self.cx.after(1, Event::KeyBack { node: node.id });
            }
        }
    }

    /// Nothing may be left undelivered, unanswered or unproven within the time.
    #[track_caller]
    pub(crate) fn run_until_quiet(&mut self, limit: Minutes) {
        let ended = self.try_run_until_quiet(limit);
        self.explain(ended, Location::caller());
    }

    pub(crate) fn try_run_until_quiet(&mut self, limit: Minutes) -> Result<(), String> {
        let end = self.cx.now + Duration::from_secs(60 * limit.0);
        loop {
            for _ in 0..60 {
                self.step()?;
            }
            let unrest = quiet::unrest(self);
            if unrest.is_empty() {
                quiet::check(self);
                return self.cx.book.violation().map_or(Ok(()), |violation| Err(violation.to_owned()));
            }
            if self.cx.now > end {
                return Err(format!("I2: not at rest after {} minutes: {}", limit.0, unrest.join("; ")));
            }
        }
    }

    /// Everything that happened, line by line.
    pub(crate) fn log(self) -> Vec<String> {
        self.cx.log
    }

    pub(crate) fn summary(&self) -> String {
        let sent: usize = self.nodes.iter().filter_map(|node| Some(node.live.as_ref()?.store.core.sent().len())).sum();
        let received: usize =
            self.nodes.iter().filter_map(|node| Some(node.live.as_ref()?.store.core.received().len())).sum();
        format!("seed {}: {sent} sent, {received} received, {:?}", self.seed, self.cx.book.counts)
    }

    #[track_caller]
    fn explain(&self, ended: Result<(), String>, from: &Location<'_>) {
        if let Err(violation) = ended {
            let tail = self.cx.log.len().saturating_sub(LOG_TAIL);
            let log = self.cx.log[tail..].join("\n");
            panic!(
                "{log}\n\n{violation}\nseed {} at {} ({from}): run it again with SIM_SEED={}\n",
                self.seed, self.cx.now, self.seed
            );
        }
    }

    fn step(&mut self) -> Result<(), String> {
        let event = self.cx.next().expect("beats never end");
        self.cx.book.counts.steps += 1;
        self.note(&event);
        let machine = machine_of(&event);
        if let Err(Dead(why)) = self.happen(event) {
            self.die(machine, &why);
        }
        quiet::always(self);
        self.cx.book.violation().map_or(Ok(()), |violation| Err(violation.to_owned()))
    }

    fn note(&mut self, event: &Event) {
        let line = match event {
            Event::Arrive(Message::Call { from, request }) => {
                let text = format!("{request:?}");
                let short: String = text.chars().take(60).collect();
                format!("node {} call {}.{}.{}: {short}", from.node, from.life, from.session, from.call)
            }
            Event::Arrive(Message::Answer { to, reply }) => {
                let text = format!("{reply:?}");
                let short: String = text.chars().take(60).collect();
                format!("answer to node {} call {}.{}.{}: {short}", to.node, to.life, to.session, to.call)
            }
            Event::Beat { .. } | Event::Office { .. } | Event::Timeout { .. } => return,
            other => format!("{other:?}"),
        };
        self.cx.say(format_args!("{line}"));
    }

    fn happen(&mut self, event: Event) -> Result<(), Dead> {
        let life = |machine: usize| if machine == RELAY { self.relay.life } else { self.nodes[machine - 1].life };
        if let Event::Disk { machine, life: of }
        | Event::Beat { machine, life: of }
        | Event::Timeout { node: machine, life: of, .. } = event
            && of != life(machine)
        {
            return Ok(()); // of a process that is no more
        }
        let cx = &mut self.cx;
        match event {
            Event::Arrive(Message::Call { from, request }) => {
                if cx.cut[from.node] {
                    Ok(())
                } else {
                    self.relay.call(cx, from, request)
                }
            }
            Event::Arrive(Message::Answer { to, reply }) => {
                if cx.cut[to.node] {
                    Ok(())
                } else {
                    self.nodes[to.node - 1].reply(cx, to, reply)
                }
            }
            Event::Arrive(Message::Wake { node }) => {
                let node = &mut self.nodes[node - 1];
                if node.live.as_ref().is_some_and(|live| live.connected) { node.pull(cx) } else { Ok(()) }
            }
            Event::Disk { machine, .. } => {
                if machine == RELAY {
                    self.relay.disk_step(cx)?
                } else {
                    self.nodes[machine - 1].disk_step(cx)?
                }
                // Between writing, syncing and answering is where cuts hurt.
                if self.cx.faults.blow_every_ms > 0 && !self.cx.healed && self.cx.once_in(600) {
                    self.cut_power(machine);
                }
                Ok(())
            }
            Event::Beat { machine: RELAY, .. } => self.relay.beat(cx),
            Event::Beat { machine, .. } => self.nodes[machine - 1].beat(cx),
            Event::Timeout { node, call, .. } => self.nodes[node - 1].timeout(cx, call),
            Event::Reset { node, life, session } => {
                let node = &mut self.nodes[node - 1];
                let same = node.life == life && node.live.as_ref().is_some_and(|live| live.session == session);
                if same { node.disconnect(cx) } else { Ok(()) }
            }
            Event::Office { node } => {
                let pause = 100 + cx.random.below(1_500);
                cx.after(pause, Event::Office { node });
                self.nodes[node - 1].office_hour(cx)
            }
            Event::Start { machine } => self.start(machine),
            Event::Blow => self.blow(),
            Event::Mend { node } => {
                cx.cut[node] = false;
                Ok(())
            }
            Event::Room { machine } => {
                self.disk(machine).set_capacity(CAPACITY);
                Ok(())
            }
            Event::KeyBack { node } => {
                let node = &mut self.nodes[node - 1];
                node.key_away = false;
                node.input(cx, Input::KeyBack)
            }
        }
    }

    fn disk(&self, machine: usize) -> &truc_ledger::simdisk::SimDisk {
        if machine == RELAY { &self.relay.disk } else { &self.nodes[machine - 1].disk }
    }

    fn is_up(&self, machine: usize) -> bool {
        if machine == RELAY { self.relay.live.is_some() } else { self.nodes[machine - 1].live.is_some() }
    }

    fn start(&mut self, machine: usize) -> Result<(), Dead> {
        if self.is_up(machine) {
            return Ok(());
        }
        if machine == RELAY {
            self.relay.start(&mut self.cx)?
        } else {
            self.nodes[machine - 1].start(&mut self.cx)?
        }
        // Cut again while it has only just come back.
        if !self.cx.healed && self.cx.once_in(8) && self.cx.faults.blow_every_ms > 0 {
            self.cut_power(machine);
        }
        Ok(())
    }

    /// The process ends by itself: the journal could not go on.
    fn die(&mut self, machine: usize, why: &str) {
        self.cx.say(format_args!("machine {machine} ends: {why}"));
        if why.contains("does not open") && self.cx.healed {
            self.cx.book.violated(format!("I1: machine {machine} {why}"));
        }
        if why.contains("full") {
            self.switch_off(machine);
            self.disk(machine).kill();
            self.cx.after(2_000, Event::Start { machine });
        } else {
            // After a sync that failed nobody knows what is on the device, and the kernel may call lost pages clean: the machine is started anew,
            // not the process alone.
            self.cut_power(machine);
        }
    }

    fn switch_off(&mut self, machine: usize) {
        if machine == RELAY {
            self.relay.live = None;
            for node in &self.nodes {
                if let Some(live) = &node.live {
                    let noticed = 20 + self.cx.random.below(3_000);
                    self.cx.after(noticed, Event::Reset { node: node.id, life: node.life, session: live.session });
                }
            }
        } else {
            self.nodes[machine - 1].live = None;
        }
    }

    pub(crate) fn cut_power(&mut self, machine: usize) {
        self.cx.book.counts.cuts += 1;
        self.switch_off(machine);
        let seed = self.cx.random.draw();
        self.disk(machine).crash(seed);
        let pause = 100 + self.cx.random.below(8_000);
        self.cx.say(format_args!("power of machine {machine} is cut"));
        self.cx.after(pause, Event::Start { machine });
    }

    fn blow(&mut self) -> Result<(), Dead> {
        if self.cx.healed {
            return Ok(());
        }
        let pause = 200 + self.cx.random.below(2 * self.cx.faults.blow_every_ms);
        self.cx.after(pause, Event::Blow);
        let machine = self.cx.index(self.nodes.len() + 1);
        let node = 1 + self.cx.index(self.nodes.len());
        match self.cx.random.below(16) {
            0..=5 if self.is_up(machine) => self.cut_power(machine),
            6 | 7 if self.is_up(machine) => {
                self.switch_off(machine);
                self.disk(machine).kill();
                let pause = 100 + self.cx.random.below(4_000);
                self.cx.say(format_args!("machine {machine} is killed"));
                self.cx.after(pause, Event::Start { machine });
            }
            8 | 9 => {
                self.cx.cut[node] = true;
                let (mended, noticed) = (500 + self.cx.random.below(30_000), self.cx.random.below(5_000));
                self.cx.say(format_args!("the line of node {node} is cut for {mended} ms"));
                self.cx.after(mended, Event::Mend { node });
                if let Some(live) = &self.nodes[node - 1].live {
                    self.cx
                        .after(noticed, Event::Reset { node, life: self.nodes[node - 1].life, session: live.session });
                }
            }
            10 | 11 => {
                // Within what clocks are allowed between two machines (FUTURE_SKEW_MAX_MS).
                let skew_ms = i64::try_from(self.cx.random.below(240_000)).expect("small") - 120_000;
                self.cx.say(format_args!("the clock of machine {machine} jumps to {skew_ms} ms off"));
                if machine == RELAY { self.relay.skew_ms = skew_ms } else { self.nodes[machine - 1].skew_ms = skew_ms }
            }
            12 => {
                let room = self.disk(machine).used() + self.cx.random.below(300_000);
                self.cx.say(format_args!("the disk of machine {machine} is full"));
                self.disk(machine).set_capacity(room);
                let emptied = 1_000 + self.cx.random.below(20_000);
                self.cx.after(emptied, Event::Room { machine });
            }
            13 if self.is_up(machine) => {
                let count = 1 + self.cx.random.below(4);
                self.disk(machine).fail_sync(count);
            }
            14 => {
                self.nodes[node - 1].key_away = true;
                let back = 1_000 + self.cx.random.below(40_000);
                self.cx.after(back, Event::KeyBack { node });
            }
            15 => {
                if let Some(live) = &self.nodes[node - 1].live {
                    let (life, session) = (self.nodes[node - 1].life, live.session);
                    self.cx.after(1, Event::Reset { node, life, session });
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn machine_of(event: &Event) -> usize {
    match event {
        Event::Arrive(Message::Call { .. }) | Event::Blow => RELAY,
        Event::Arrive(Message::Answer { to, .. }) => to.node,
        Event::Arrive(Message::Wake { node })
        | Event::Timeout { node, .. }
        | Event::Office { node }
        | Event::Mend { node }
        | Event::Reset { node, .. }
        | Event::KeyBack { node } => *node,
        Event::Disk { machine, .. }
        | Event::Beat { machine, .. }
        | Event::Start { machine }
        | Event::Room { machine } => *machine,
    }
}
