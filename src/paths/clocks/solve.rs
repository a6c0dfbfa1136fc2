//! One time for many vantage points, from what is proved of pairs of them.

use super::bounds::Bounds;
use super::fit::Fit;
use super::pair::Pair;
use super::vantage_clock::VantageClock;

/// Whether clocks are corrected.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(in crate::paths) enum ClockMode {
    /// Where they are proved wrong.
    #[default]
    Auto,
    /// Never, but for what is declared.
    Off,
}

/// What the user says of the clocks.
#[derive(Clone, Default, Debug)]
pub(in crate::paths) struct ClockOptions {
    pub(in crate::paths) mode: ClockMode,
    /// By vantage point, how far its clock is ahead of the true time, in nanoseconds, where that is known. It is subtracted, and taken for true:
    /// such a clock is not corrected. `None` beyond the end. Of at most 73 years.
    pub(in crate::paths) declared_ns: Vec<Option<i64>>,
    /// The most by which two of the clocks differ, less what is declared, in nanoseconds: what the hosts' own synchronisation is worth.
    pub(in crate::paths) sync_ns: Option<u64>,
    /// Those whose own stamps go back, as of a clock that was set: another one is the reference, if it can be.
    pub(in crate::paths) went_back: Vec<bool>,
}

/// What is declared, and what is proved to be otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::paths) enum Contradiction {
    /// The declared offsets of these two, or one of them, are wrong: packets would arrive before they were sent.
    Declared(usize, usize),
    /// The clocks of these two differ by more than is declared of all.
    Sync(usize, usize),
    /// With all that is subtracted, packets between these two would still arrive before they were sent, and no constants that are subtracted
    /// besides mend it. Either what pairs prove does not go together, as around a circle; or drifts, each too small to be proved by the pair
    /// that measures it, are proved by others.
    Pairs(usize, usize),
}

/// The clocks of all vantage points.
#[derive(Clone, Debug)]
pub(in crate::paths) struct Clocks {
    /// The vantage point whose time the others' are brought to.
    pub(in crate::paths) reference: usize,
    /// In the order of the vantage points.
    pub(in crate::paths) vantages: Vec<VantageClock>,
    /// What does not go together.
    pub(in crate::paths) contradictions: Vec<Contradiction>,
    bounds: Bounds,
}

impl Clocks {
    /// Returns the least and the largest error that a one-way delay from `from` to `to` may have, in nanoseconds: the true delay is the
    /// measured one, by times in common, less something between them. `None` where nothing bounds it.
    pub(in crate::paths) fn error_bounds(&self, from: usize, to: usize) -> (Option<i64>, Option<i64>) {
        (self.bounds.get(to, from).map(i64::saturating_neg), self.bounds.get(from, to))
    }
}

/// Brings the clocks of `vantages` vantage points to the time of one of them, from what is proved of pairs: the first, the second, and
/// [`super::fit()`] of the packets between them. Pairs of others, and of one with itself, are ignored.
///
/// The reference is the vantage point with which most others are consistent uncorrected, among those whose offset is declared if there are
/// any. From there the others are corrected one after the other, each by the pair that tells most: with bounds on both sides, of the
/// fewest steps, of the smallest gap.
pub(in crate::paths) fn solve(
    vantages: usize,
    fits: &[(usize, usize, Fit)],
    options: &ClockOptions,
) -> Clocks {
    let declared = |vantage: usize| options.declared_ns.get(vantage).copied().flatten();
    let declared_ns = |vantage: usize| declared(vantage).unwrap_or(0);
    let mut pairs: Vec<Pair> = fits
        .iter()
        .filter(|(first, second, fit)| {
            first != second && *first.max(second) < vantages && !fit.stretches.is_empty()
        })
        .map(|(first, second, fit)| {
            Pair::new(*first, *second, fit.without(declared_ns(*first), declared_ns(*second)))
        })
        .collect();
    let is_any_declared = (0..vantages).any(|vantage| declared(vantage).is_some());
    let may_be_reference = |vantage: &usize| !is_any_declared || declared(*vantage).is_some();
    let agreeing = |vantage: usize| {
        let of = pairs.iter().filter(|pair| pair.first == vantage || pair.second == vantage);
        of.filter(|pair| pair.fit.stretches.iter().all(|stretch| stretch.is_zero_possible)).count()
    };
    let reference = (0..vantages)
        .filter(may_be_reference)
        .rev()
        .max_by_key(|vantage| {
            let went_back = options.went_back.get(*vantage).copied().unwrap_or(false);
            (!went_back, agreeing(*vantage))
        })
        .unwrap_or(0);
    let mut clocks: Vec<Option<VantageClock>> = (0..vantages)
        .map(|vantage| {
            let is_right =
                vantage == reference || declared(vantage).is_some() || options.mode == ClockMode::Off;
            is_right.then(|| VantageClock::new(declared_ns(vantage), Vec::new(), Vec::new()))
        })
        .collect();
    while let Some((at, measured)) = next_pair(&pairs, &clocks) {
        let Some(pair) = pairs.get_mut(at) else { break };
        let Some(Some(parent)) = clocks.get(pair.other(measured)) else { break };
        let clock = pair.measure(measured, parent, declared_ns(measured), options.sync_ns);
        if let Some(slot) = clocks.get_mut(measured) {
            *slot = Some(clock);
        }
    }
    let unmeasured = |vantage: usize| VantageClock::new(declared_ns(vantage), Vec::new(), Vec::new());
    let mut clocks: Vec<VantageClock> = clocks
        .into_iter()
        .enumerate()
        .map(|(vantage, clock)| clock.unwrap_or_else(|| unmeasured(vantage)))
        .collect();
    settle(&mut pairs, &mut clocks);

    let mut contradictions = Vec::new();
    let mut bounds = Bounds::new(vantages);
    let mut out_of_sync = vec![false; vantages];
    for pair in &pairs {
        let mut sync_ns = options.sync_ns;
        if sync_ns.is_some_and(|sync_ns| !pair.fit.allows_sync(sync_ns)) {
            contradictions.push(Contradiction::Sync(pair.first, pair.second));
            sync_ns = None;
            for vantage in [pair.first, pair.second] {
                out_of_sync.get_mut(vantage).into_iter().for_each(|slot| *slot = true);
            }
        }
        pair.narrow(&mut bounds, &clocks, sync_ns);
        if options.mode == ClockMode::Auto && pair.is_violated(&clocks) {
            let are_declared = declared(pair.first).is_some() && declared(pair.second).is_some();
            let kind = if are_declared { Contradiction::Declared } else { Contradiction::Pairs };
            contradictions.push(kind(pair.first, pair.second));
        }
    }
    if let Some(sync_ns) = options.sync_ns {
        let in_sync = |vantage: &usize| {
            let is_corrected = clocks.get(*vantage).is_none_or(|clock| clock.is_corrected);
            !is_corrected && out_of_sync.get(*vantage) == Some(&false)
        };
        for a in (0..vantages).filter(in_sync) {
            for b in (0..vantages).filter(in_sync) {
                bounds.narrow(a, b, i64::try_from(sync_ns).unwrap_or(i64::MAX));
            }
        }
    }
    bounds.close();
    for (vantage, clock) in clocks.iter_mut().enumerate() {
        let both = bounds.get(reference, vantage).zip(bounds.get(vantage, reference));
        clock.uncertainty_ns = both.map(|(ahead, behind)| ahead.max(behind).max(0).unsigned_abs());
    }
    Clocks { reference, vantages: clocks, contradictions, bounds }
}

/// Returns the pair that tells most of one that is not known by one that is, and which one that is.
fn next_pair(pairs: &[Pair], clocks: &[Option<VantageClock>]) -> Option<(usize, usize)> {
    let is_known = |vantage: usize| clocks.get(vantage).is_some_and(Option::is_some);
    let candidates = pairs.iter().enumerate().filter_map(|(at, pair)| {
        let measured = match (is_known(pair.first), is_known(pair.second)) {
            (true, false) => pair.second,
            (false, true) => pair.first,
            _ => return None,
        };
        let gaps = pair.fit.stretches.iter().map(|stretch| stretch.half_gap_ns);
        let gap_ns = gaps.map(|gap_ns| gap_ns.unwrap_or(u64::MAX)).max();
        let is_bounded = pair.fit.stretches.iter().any(|stretch| stretch.half_gap_ns.is_some());
        Some(((!is_bounded, pair.fit.steps.len(), gap_ns), at, measured))
    });
    candidates.min_by_key(|(key, ..)| *key).map(|(_, at, measured)| (at, measured))
}

/// Moves what is subtracted from corrected clocks so that all pairs' bounds are kept, where each by itself keeps only those of one pair.
fn settle(pairs: &mut [Pair], clocks: &mut [VantageClock]) {
    let fixed: Vec<bool> = clocks.iter().map(|clock| !clock.is_corrected).collect();
    if fixed.iter().all(|is_fixed| *is_fixed) {
        return;
    }
    let mut bounds = Bounds::new(clocks.len());
    for pair in &*pairs {
        pair.narrow_to_room(&mut bounds, clocks);
    }
    let Some(errors) = bounds.settle(&fixed) else { return };
    for (clock, error) in clocks.iter_mut().zip(&errors) {
        clock.raise(*error);
    }
    for pair in pairs {
        let of = |vantage: usize| errors.get(vantage).copied().unwrap_or(0);
        pair.raise(of(pair.second).saturating_sub(of(pair.first)));
    }
}
