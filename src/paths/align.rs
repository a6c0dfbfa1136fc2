//! Which of several identical packets an arrival is.

/// What is known of the delays of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Expected {
    /// Delays up to this are likely, where another packet explains the arrival too.
    pub(super) likely_ns: u64,
    /// By clocks that disagree, one may arrive so long before it was sent.
    pub(super) early_ns: u64,
    /// No delay is longer.
    pub(super) longest_ns: u64,
}

/// What became of a sending or of an arrival.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Paired {
    /// This sending has this arrival, which could be of one packet only, or of several.
    Arrived { sent: usize, arrived: usize, is_ambiguous: bool },
    /// This sending has none. It was given up for a later one that explains this arrival.
    Missing { sent: usize, instead: Option<usize> },
}

/// Pairs what was `sent` with what `arrived`, both in the order of their times: in that order, and each once.
///
/// A sending is given up where its arrival would have been on its way for longer than is likely, and a later one explains it.
/// So one loss does not shift the pairs of all that follow. Only sendings before `before_ns` are told of; what has not come for
/// later ones may still come. Takes time in proportion to both.
pub(super) fn align(
    sent: &[u64],
    arrived: &[u64],
    before_ns: u64,
    expected: Expected,
    mut tell: impl FnMut(Paired),
) {
    let mut next = 0;
    for (at, sent_ns) in sent.iter().enumerate().take_while(|(_, sent_ns)| **sent_ns < before_ns) {
        while arrived
            .get(next)
            .is_some_and(|arrived_ns| arrived_ns.saturating_add(expected.early_ns) < *sent_ns)
        {
            next += 1;
        }
        let Some(arrived_ns) = arrived.get(next) else {
            tell(Paired::Missing { sent: at, instead: None });
            continue;
        };
        let delay_ns = arrived_ns.saturating_sub(*sent_ns);
        let others = sent.get(at + 1).is_some_and(|later_ns| later_ns <= arrived_ns);
        if delay_ns > expected.longest_ns || others && delay_ns > expected.likely_ns {
            let instead = Some(next).filter(|_| delay_ns <= expected.longest_ns);
            tell(Paired::Missing { sent: at, instead });
            continue;
        }
        tell(Paired::Arrived { sent: at, arrived: next, is_ambiguous: others });
        next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(sent: &[u64], arrived: &[u64], likely_ns: u64) -> Vec<Option<usize>> {
        let mut found = Vec::new();
        align(sent, arrived, u64::MAX, Expected { likely_ns, early_ns: 0, longest_ns: 1000 }, |paired| {
            found.push(match paired {
                Paired::Arrived { arrived, .. } => Some(arrived),
                Paired::Missing { .. } => None,
            });
        });
        found
    }

    #[test]
    fn a_loss_shifts_no_other() {
        // Every 200, on their way for 10; the first and the third are lost.
        assert_eq!(pairs(&[0, 200, 400, 600], &[210, 610], 20), [None, Some(0), None, Some(1)]);
        // Nobody knows what is likely: the first pairs are taken.
        assert_eq!(pairs(&[0, 200, 400], &[210], u64::MAX), [Some(0), None, None]);
        // What is slow, and can be of no other, is taken.
        assert_eq!(pairs(&[0, 200], &[150, 210], 20), [Some(0), Some(1)]);
        // Beyond the longest there is none.
        assert_eq!(pairs(&[0], &[1001], 20), [None]);
        assert_eq!(pairs(&[0], &[1000], 20), [Some(0)]);
    }

    #[test]
    fn what_arrives_before_it_was_sent_is_of_another() {
        assert_eq!(pairs(&[100, 200], &[50, 110, 210], 20), [Some(1), Some(2)]);
    }

    #[test]
    fn only_what_is_old_enough_is_told_of() {
        let mut told = 0;
        align(&[0, 10, 20], &[5], 20, Expected { likely_ns: 100, early_ns: 0, longest_ns: 100 }, |_| {
            told += 1
        });
        assert_eq!(told, 2);
    }
}
