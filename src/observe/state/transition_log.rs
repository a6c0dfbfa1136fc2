//! The log: the last transitions of all entities of a shard, in one ring; those of one entity are chained.

use super::machine::Machine;

/// One transition.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoggedTransition {
    pub(super) time_ns: u64,
    /// The machine's number.
    machine: u32,
    /// Which of the machine's transitions it is, from 1.
    number: u32,
    /// Where the machine's transition before it is, if it is still there.
    before: u32,
    pub(super) from: u8,
    pub(super) to: u8,
    pub(super) code: u8,
    /// Whether the kind's path forks and its second way was taken.
    pub(super) other: bool,
}

const _: () = assert!(size_of::<LoggedTransition>() == 24);

pub(super) struct TransitionLog {
    marks: Vec<LoggedTransition>,
    next: usize,
    capacity: usize,
    /// Transitions so far, of all entities.
    total: u64,
}

/// What is still known of a machine's transitions.
pub(super) struct History {
    /// Latest first, each with its number among those of the whole shard.
    pub(super) marks: Vec<(u64, LoggedTransition)>,
    /// How many there were before those.
    pub(super) earlier: u32,
}

impl TransitionLog {
    pub(super) fn new(capacity: usize) -> TransitionLog {
        TransitionLog { marks: Vec::new(), next: 0, capacity: capacity.min(u32::MAX as usize), total: 0 }
    }

    /// Returns how many transitions there were, of all entities.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Tells whether all transitions after number `number` of the shard are still there.
    pub(super) fn has_all_after(&self, number: u64) -> bool {
        self.total - number <= self.marks.len() as u64
    }

    /// Notes that machine number `number` has just come from `from` to its state.
    #[inline]
    pub(super) fn note(&mut self, number: u32, machine: &mut Machine, from: u8, code: u8, other: bool) {
        self.total += 1;
        if self.capacity == 0 {
            return;
        }
        let mark = LoggedTransition {
            time_ns: machine.since_ns,
            machine: number,
            number: machine.moves,
            before: machine.last,
            from,
            to: machine.state,
            code,
            other,
        };
        match self.marks.get_mut(self.next) {
            Some(oldest) => *oldest = mark,
            None => self.marks.push(mark),
        }
        machine.last = self.next as u32;
        self.next = if self.next + 1 == self.capacity { 0 } else { self.next + 1 };
    }

    /// Returns the transitions of machine number `number` that are still there.
    pub(super) fn of(&self, number: u32, machine: &Machine) -> History {
        let mut marks = Vec::new();
        let (mut place, mut wanted) = (machine.last, machine.moves);
        while let Some(mark) = self.marks.get(place as usize) {
            // What has been overwritten belongs to another machine, or is a later transition of this one.
            if wanted == 0 || mark.machine != number || mark.number != wanted {
                break;
            }
            marks.push((self.number_at(place as usize), *mark));
            (place, wanted) = (mark.before, wanted - 1);
        }
        History { marks, earlier: wanted }
    }

    /// The number, among all of the shard, of the transition at `place`.
    fn number_at(&self, place: usize) -> u64 {
        // The place before `next` holds the last one; going back from there, the numbers fall by one.
        let back = (self.next + self.capacity - 1 - place) % self.capacity;
        self.total - back as u64
    }
}

impl LoggedTransition {
    /// Which of the machine's transitions it is, from 1.
    pub(super) fn number(&self) -> u32 {
        self.number
    }
}
