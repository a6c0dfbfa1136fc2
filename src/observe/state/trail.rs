//! The trail: the last transitions of all entities of a shard, in one ring; those of one entity are chained.

use super::machines::Machine;

/// One transition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
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
}

const _: () = assert!(size_of::<Mark>() == 24);

pub(super) struct Trail {
    marks: Vec<Mark>,
    next: usize,
    capacity: usize,
}

impl Trail {
    pub(super) fn new(capacity: usize) -> Trail {
        Trail { marks: Vec::new(), next: 0, capacity: capacity.min(u32::MAX as usize) }
    }

    /// Notes that machine number `number` has just come from `from` to its state.
    #[inline]
    pub(super) fn note(&mut self, number: u32, machine: &mut Machine, from: u8, code: u8) {
        if self.capacity == 0 {
            return;
        }
        let mark = Mark {
            time_ns: machine.since_ns,
            machine: number,
            number: machine.moves,
            before: machine.last,
            from,
            to: machine.state,
            code,
        };
        match self.marks.get_mut(self.next) {
            Some(oldest) => *oldest = mark,
            None => self.marks.push(mark),
        }
        machine.last = self.next as u32;
        self.next = if self.next + 1 == self.capacity { 0 } else { self.next + 1 };
    }

    /// Returns the transitions of machine number `number` that are still there, latest first.
    pub(super) fn of(&self, number: u32, machine: &Machine) -> Vec<Mark> {
        let mut found = Vec::new();
        let (mut place, mut wanted) = (machine.last, machine.moves);
        while let Some(mark) = self.marks.get(place as usize) {
            // What has been overwritten belongs to another machine, or is a later transition of this one.
            if wanted == 0 || mark.machine != number || mark.number != wanted {
                break;
            }
            found.push(*mark);
            (place, wanted) = (mark.before, wanted - 1);
        }
        found
    }
}
