//! The protocol between the collector and everybody else, explored in every interleaving.
//!
//! One object, two names, one snapshot, one removal that can be undone; seven actors that do what the code does, one step at a
//! time. A step under the shared store lock is possible only while the collector does not hold it
//! exclusively. The collector's listings are not atomic: each entry is looked at in a step of its
//! own. The test fails if any reachable state has something that holds, or relies on, an object
//! that is gone; and weakened protocols must fail, or the model would prove nothing.

use std::collections::HashSet;

const ACTORS: usize = 7;
/// How many entries the list of operations has at most.
const OPS: u8 = 6;
/// That, the snapshot, two names, what can be brought back.
const ENTRIES: u8 = OPS + 4;
const PULL: usize = 0;
const TAG: usize = 1;
const RUN: usize = 2;
const COMMIT: usize = 3;
const REMOVE: usize = 4;
const UNDO: usize = 5;
const EXPIRE: usize = 6;
/// How often the collector goes round.
const ROUNDS: u8 = 2;

/// What can be taken away from the protocol.
#[derive(Debug, Clone, Copy)]
struct Protocol {
    lease_under_lock: bool,
    ops_first: bool,
    publish_before_drop: bool,
    list_again: bool,
    pin_before_look: bool,
    note_before_remove: bool,
    removed_last: bool,
    lease_before_undo: bool,
}

const REAL: Protocol = Protocol {
    lease_under_lock: true,
    ops_first: true,
    publish_before_drop: true,
    list_again: true,
    pin_before_look: true,
    note_before_remove: true,
    removed_last: true,
    lease_before_undo: true,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    present: bool,
    names: [bool; 2],
    snapshot: bool,
    /// What was removed can be brought back.
    noted: bool,
    again: bool,
    leases: [bool; ACTORS],
    relies: [bool; ACTORS],
    at: [u8; ACTORS],
    collector: Collector,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Collector {
    at: u8,
    round: u8,
    locked: bool,
    seen: bool,
    candidate: bool,
}

const START: State = State {
    present: true,
    names: [true, false],
    snapshot: false,
    noted: false,
    again: false,
    leases: [false; ACTORS],
    relies: [false; ACTORS],
    at: [0; ACTORS],
    collector: Collector {
        at: 0,
        round: 0,
        locked: false,
        seen: false,
        candidate: false,
    },
};

const DONE: u8 = 99;

impl State {
    /// Nothing holds or relies on what is gone.
    fn is_sound(&self) -> bool {
        // A pin whose object was not there when its maker looked is given up; one that was
        // looked for and found is in `relies`.
        let held = self.names.contains(&true) || self.relies.contains(&true) || self.noted;
        self.present || !held
    }

    /// A step that needs the shared lock.
    fn may_share(&self, protocol: Protocol) -> bool {
        !(self.collector.locked && protocol.lease_under_lock)
    }

    fn lease(mut self, actor: usize) -> Self {
        self.leases[actor] = true;
        self.at[actor] += 1;
        self
    }

    fn next(mut self, actor: usize) -> Self {
        self.at[actor] += 1;
        self
    }

    /// Looks whether the object is here; gives up if not.
    fn look(mut self, actor: usize) -> Self {
        if self.present {
            self.relies[actor] = true;
            self.at[actor] += 1;
        } else {
            self.leases[actor] = false;
            self.at[actor] = DONE;
        }
        self
    }

    fn publish(mut self, actor: usize) -> Self {
        match actor {
            PULL | TAG | COMMIT => self.names[1] = true,
            _ => self.snapshot = true,
        }
        self.at[actor] += 1;
        self
    }

    fn drop_lease(mut self, actor: usize) -> Self {
        self.leases[actor] = false;
        self.at[actor] += 1;
        self
    }

    fn end(mut self, actor: usize) -> Self {
        self.relies[actor] = false;
        self.at[actor] = DONE;
        self
    }
}

/// Returns the state after the actor's next step, `None` if it has none or waits.
fn act(state: State, actor: usize, protocol: Protocol) -> Option<State> {
    let at = state.at[actor];
    let share = state.may_share(protocol);
    let (publish_at, drop_at) = if protocol.publish_before_drop {
        (2, 3)
    } else {
        (3, 2)
    };
    let next = match (actor, at) {
        (REMOVE | UNDO | EXPIRE, _) => return act_on_removal(state, actor, protocol),
        // Tags only what it found under the first name.
        (TAG, 0) if !state.names[0] => return None,
        (PULL | TAG | COMMIT, 0) if share => state.lease(actor),
        // A snapshot is its own lease: pinned under the shared lock, then looked for.
        (RUN, 0) if protocol.pin_before_look && share => state.publish(RUN),
        (RUN, 1) if protocol.pin_before_look && state.present => state.look(RUN),
        (RUN, 1) if protocol.pin_before_look => unpin(state).end(RUN),
        (RUN, 0) if !protocol.pin_before_look => state.look(RUN),
        (RUN, 1) if !protocol.pin_before_look && share => state.publish(RUN),
        // What is missing is fetched, verified and published.
        (PULL, 1) if !state.present => State {
            present: true,
            ..state
        },
        // Commits what runs.
        (COMMIT, 1) if !(state.relies[RUN] && state.snapshot) => {
            state.drop_lease(COMMIT).end(COMMIT)
        }
        (PULL | TAG | COMMIT, 1) => state.look(actor),
        (PULL | TAG | COMMIT, at) if at == publish_at => state.publish(actor),
        (PULL | TAG | COMMIT, at) if at == drop_at => state.drop_lease(actor),
        // Commit removes its container afterwards.
        (COMMIT, 4) => unpin(state).end(RUN).end(COMMIT),
        (PULL | TAG, 4) => state.end(actor),
        _ => return None,
    };
    Some(next)
}

/// The same for those who remove what can be brought back, bring it back, and end its time.
fn act_on_removal(state: State, actor: usize, protocol: Protocol) -> Option<State> {
    let at = state.at[actor];
    let share = state.may_share(protocol);
    let next = match (actor, at) {
        // rmi of the first name: written down, then done.
        (REMOVE, 0 | 1) if (at == 0) == protocol.note_before_remove => {
            let noted = state.names[0] || !protocol.note_before_remove;
            State { noted, ..state }.next(REMOVE)
        }
        (REMOVE, 0 | 1) => State {
            names: [false, state.names[1]],
            ..state
        }
        .next(REMOVE),
        // Undo: leased, put back, and then no longer written down.
        (UNDO, 0) if !(state.noted && state.at[REMOVE] == 2) => return None,
        (UNDO, 0) if !protocol.lease_before_undo => state.next(UNDO),
        (UNDO, 0) if share => state.lease(UNDO),
        (UNDO, 1) => State {
            names: [true, state.names[1]],
            ..state
        }
        .next(UNDO),
        (UNDO, 2) => State {
            noted: false,
            ..state
        }
        .next(UNDO),
        (UNDO, 3) => state.drop_lease(UNDO).end(UNDO),
        // What was put back can be removed, and put back, once more.
        (REMOVE, 2) if state.at[UNDO] == DONE && !state.again => {
            let mut next = state;
            next.at[REMOVE] = 0;
            next.at[UNDO] = 0;
            next.again = true;
            next
        }
        // The window ends: never while something is being put back, or still being removed.
        (EXPIRE, 0)
            if state.noted && state.at[REMOVE] == 2 && matches!(state.at[UNDO], 0 | DONE) =>
        {
            State {
                noted: false,
                ..state
            }
            .end(EXPIRE)
        }
        _ => return None,
    };
    Some(next)
}

fn unpin(state: State) -> State {
    State {
        snapshot: false,
        ..state
    }
}

/// What the collector looks at in one step of a listing.
fn listed(state: &State, entry: u8, protocol: Protocol) -> bool {
    let entry = match protocol {
        // snap, refs and removed before ops.
        Protocol {
            ops_first: false, ..
        } => (entry + OPS) % ENTRIES,
        // removed before all others.
        Protocol {
            removed_last: false,
            ..
        } => (entry + ENTRIES - 1) % ENTRIES,
        _ => entry,
    };
    match entry {
        entry if entry < OPS => state.leases[entry as usize],
        OPS => state.snapshot,
        entry if entry == ENTRIES - 1 => state.noted,
        entry => state.names[(entry - OPS - 1) as usize],
    }
}

/// Mark without the lock, lock, list in full, rename if nothing was seen, unlock.
fn collect(state: State, protocol: Protocol) -> Option<State> {
    const LOCK: u8 = ENTRIES;
    const LIST: u8 = LOCK + 1;
    const RENAME: u8 = LIST + ENTRIES;
    let mut next = state;
    let collector = &mut next.collector;
    match state.collector.at {
        at if at < ENTRIES => {
            collector.seen |= listed(&state, at, protocol);
            collector.at += 1;
        }
        LOCK => {
            collector.candidate = state.present && !state.collector.seen;
            collector.locked = true;
            if protocol.list_again {
                collector.seen = false;
                collector.at = LIST;
            } else {
                collector.at = RENAME;
            }
        }
        at if at < RENAME => {
            collector.seen |= listed(&state, at - LIST, protocol);
            collector.at += 1;
        }
        RENAME => {
            if state.collector.candidate && !state.collector.seen {
                next.present = false;
            }
            next.collector.at = RENAME + 1;
        }
        _ if state.collector.round + 1 < ROUNDS => {
            next.collector = Collector {
                round: state.collector.round + 1,
                ..START.collector
            };
        }
        _ if state.collector.locked => next.collector.locked = false,
        _ => return None,
    }
    Some(next)
}

/// Explores everything; returns how many states there are, or the first unsound one.
fn explore(protocol: Protocol) -> Result<usize, State> {
    let mut seen = HashSet::from([START]);
    let mut todo = vec![START];
    while let Some(state) = todo.pop() {
        if !state.is_sound() {
            return Err(state);
        }
        let acted = (0..ACTORS).filter_map(|actor| act(state, actor, protocol));
        for next in acted.chain(collect(state, protocol)) {
            if seen.insert(next) {
                todo.push(next);
            }
        }
    }
    Ok(seen.len())
}

#[test]
fn nothing_that_is_held_is_ever_collected() {
    let states = explore(REAL).unwrap_or_else(|state| panic!("unsound: {state:#?}"));
    assert!(states > 10_000, "only {states} states were reached");
}

#[test]
fn every_rule_of_the_protocol_is_needed() {
    let weakened = [
        Protocol {
            lease_under_lock: false,
            ..REAL
        },
        Protocol {
            ops_first: false,
            ..REAL
        },
        Protocol {
            publish_before_drop: false,
            ..REAL
        },
        Protocol {
            list_again: false,
            ..REAL
        },
        Protocol {
            pin_before_look: false,
            ..REAL
        },
        Protocol {
            note_before_remove: false,
            ..REAL
        },
        Protocol {
            removed_last: false,
            ..REAL
        },
        Protocol {
            lease_before_undo: false,
            ..REAL
        },
    ];
    let suffices = |protocol: &Protocol| explore(*protocol).is_ok();
    let sufficient: Vec<Protocol> = weakened.into_iter().filter(suffices).collect();
    assert!(
        sufficient.is_empty(),
        "these seem to suffice: {sufficient:#?}"
    );
}
