//! The account of every event.

use crate::observe::worker::Delivery;
use crate::process::Processing;

/// Says what became of every event that was offered.
///
/// At rest these hold exactly, and [`Account::check`] says so:
///
/// ```text
/// offered  = accepted + dropped_full + rejected
/// accepted = unique + duplicates + in_flight
/// unique   = handled + skipped + failed            for each name of an observer
/// ```
///
/// An observer that was removed keeps its account, and one that is added under its name goes on with it. To both, what
/// came while no observer of that name was there is skipped.
///
/// While events flow, the first two hold by construction and the third may lag; `in_flight` lies between 0 and
/// what the rings can hold, and what processors have just derived of one batch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Account {
    /// Events that emitters were asked to emit.
    pub offered: u64,
    /// Events put into a ring.
    pub accepted: u64,
    /// Events dropped because their ring was full.
    pub dropped_full: u64,
    /// Events refused: kind unknown, wrong identity, name or document refused, no source number left. (What is
    /// offered after the shutdown is refused too; emitters tell of it, this account does not.)
    pub rejected: u64,
    /// Accepted events that dedup found to be new.
    pub unique: u64,
    /// Accepted events that dedup found to be duplicates.
    pub duplicates: u64,
    /// Accepted events that dedup has not seen yet.
    pub in_flight: u64,
    /// Per name of an observer: what became of the unique events. The first 1,024 names, in the order in which they came
    /// up.
    pub observers: Vec<(Box<str>, Delivery)>,
    /// Observers of further names, all together.
    pub further_observers: Further,
    /// Per processor, by name: what became of its work. What it derived was offered too, and stands in the counts above.
    pub processors: Vec<(Box<str>, Processing)>,
}

/// Observers beyond those whose accounts are kept by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Further {
    /// How many there were.
    pub observers: u64,
    /// The sum of their accounts: `handled + skipped + failed` is `unique` for each of them.
    pub delivery: Delivery,
}

/// Which part of the account does not add up: a bug in this crate.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
#[non_exhaustive]
pub enum AccountError {
    /// `offered` is not the sum of its parts.
    #[error("offered {offered} is not accepted + dropped_full + rejected = {sum}; please report this bug")]
    Offered { offered: u64, sum: u64 },
    /// `accepted` is not the sum of its parts.
    #[error("accepted {accepted} is not unique + duplicates + in_flight = {sum}; please report this bug")]
    Accepted { accepted: u64, sum: u64 },
    /// An observer's part does not add up.
    #[error(
        "unique {unique} is not handled + skipped + failed = {sum} of {observer:?}; please report this bug"
    )]
    Observer { observer: Box<str>, unique: u64, sum: u64 },
    /// Something is still in flight after the end.
    #[error("{0} events were in flight when the pipeline ended; please report this bug")]
    InFlight(u64),
}

impl Account {
    /// Checks that all sums hold; meant for a pipeline at rest.
    ///
    /// # Errors
    /// Names the first sum that does not hold.
    pub fn check(&self) -> Result<(), AccountError> {
        let sum = self.accepted + self.dropped_full + self.rejected;
        if self.offered != sum {
            return Err(AccountError::Offered { offered: self.offered, sum });
        }
        let sum = self.unique + self.duplicates + self.in_flight;
        if self.accepted != sum {
            return Err(AccountError::Accepted { accepted: self.accepted, sum });
        }
        for (observer, delivery) in &self.observers {
            let sum = delivery.handled + delivery.skipped + delivery.failed;
            if self.unique != sum {
                let observer = observer.clone();
                return Err(AccountError::Observer { observer, unique: self.unique, sum });
            }
        }
        let Further { observers, delivery } = self.further_observers;
        let (sum, unique) = (delivery.handled + delivery.skipped + delivery.failed, self.unique * observers);
        if unique != sum {
            return Err(AccountError::Observer { observer: "of further names".into(), unique, sum });
        }
        Ok(())
    }

    /// Checks that all sums hold and nothing is in flight.
    pub(crate) fn check_final(&self) -> Result<(), AccountError> {
        self.check()?;
        if self.in_flight == 0 { Ok(()) } else { Err(AccountError::InFlight(self.in_flight)) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_sum_is_checked() {
        let delivery = Delivery { handled: 3, skipped: 1, failed: 1, duplicates: 9 };
        let good = Account {
            offered: 10,
            accepted: 8,
            dropped_full: 1,
            rejected: 1,
            unique: 5,
            duplicates: 3,
            in_flight: 0,
            observers: vec![("o".into(), delivery)],
            further_observers: Further {
                observers: 2,
                delivery: Delivery { handled: 6, skipped: 3, failed: 1, duplicates: 0 },
            },
            processors: Vec::new(),
        };
        assert_eq!(good.check_final(), Ok(()));
        let broken: [fn(&mut Account); 10] = [
            |account| account.offered += 1,
            |account| account.dropped_full += 1,
            |account| account.rejected += 1,
            |account| account.accepted += 1,
            |account| account.unique += 1,
            |account| account.duplicates += 1,
            |account| account.in_flight += 1,
            |account| account.observers[0].1.failed += 1,
            |account| account.further_observers.observers += 1,
            |account| account.further_observers.delivery.skipped += 1,
        ];
        for (at, break_it) in broken.iter().enumerate() {
            let mut account = good.clone();
            break_it(&mut account);
            assert!(account.check_final().is_err(), "number {at}");
        }
    }
}
