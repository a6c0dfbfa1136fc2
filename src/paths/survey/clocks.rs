//! What the packets of the sample prove about the clocks.

use super::directions::Direction;
use super::matches::AllCommon;
use super::options::SurveyOptions;
use super::routes::AllDirections;
use super::shown::span;
use super::vantage::VantageSurvey;
use crate::paths::clocks::{
    ClockMode, ClockOptions, Clocks, Contradiction, Crossing, VantageClock, fit, solve,
};
use crate::paths::finding::Finding;
use crate::paths::report::ClockReport;

/// Crossings of two vantage points from which their clocks are concluded.
const CROSSINGS_MAX: usize = 1 << 16;

/// A clock is not set more often while captures are taken; more are a matter of how stamps were made.
const STEPS_MAX: u64 = 3;

/// No packet is on its way for so long.
const IMPLAUSIBLE_NS: u64 = 60_000_000_000;

/// Brings all clocks to one time. Returns also which two have packets in one direction only, and clocks that were corrected by these.
pub(super) fn find(
    vantages: &[VantageSurvey],
    common: &AllCommon,
    directions: &AllDirections,
    options: &SurveyOptions,
) -> (Clocks, Vec<(u8, u8)>) {
    let mut fits = Vec::new();
    for (two, common) in common {
        let Some(directions) = directions.get(two) else { continue };
        let step = common.once.len().div_ceil(CROSSINGS_MAX).max(1);
        // In the order of stamps that do not come twice, where one of both clocks was set back.
        let went_back = |at: u8| vantages.get(usize::from(at)).is_some_and(VantageSurvey::went_back);
        let by_second = went_back(two.0) && !went_back(two.1);
        let crossings = common.once.iter().step_by(step).filter_map(|one| {
            let is_back = *directions.get(&one.pair)? == Direction::Back;
            let (at_ns, other_ns) =
                if by_second { (one.other_ns, one.at_ns) } else { (one.at_ns, one.other_ns) };
            let difference_ns = other_ns.wrapping_sub(at_ns) as i64;
            Some(Crossing { at_ns, difference_ns, is_back: is_back != by_second })
        });
        let crossings: Vec<Crossing> = crossings.collect();
        let (first, second) = if by_second { (two.1, two.0) } else { *two };
        fits.push((usize::from(first), usize::from(second), fit(&crossings)));
    }
    let declared_ns = vantages.iter().map(|vantage| {
        let known = options.clock_offsets.iter().find(|(name, _)| *name == vantage.name);
        known.map(|(_, offset_ns)| *offset_ns)
    });
    let mut declared_ns: Vec<Option<i64>> = declared_ns.collect();
    // Packets one way only, and all on their way for longer than any network holds them: by their clocks.
    let mut apart = Vec::new();
    if !options.clocks_off {
        for (one, other, fit) in &fits {
            let known = |vantage: usize| declared_ns.get(vantage).copied().flatten();
            let Some(least_ns) = least_of_one_way(common, directions, (*one as u8, *other as u8)) else {
                continue;
            };
            let is_open = known(*one).is_none() || known(*other).is_none();
            if least_ns.unsigned_abs() < IMPLAUSIBLE_NS || !is_open || fit.stretches.is_empty() {
                continue;
            }
            let (of, offset_ns) = match (known(*one), known(*other)) {
                (None, Some(offset_ns)) => (*one, offset_ns.saturating_sub(least_ns)),
                (offset_ns, _) => (*other, offset_ns.unwrap_or(0).saturating_add(least_ns)),
            };
            declared_ns.get_mut(of).into_iter().for_each(|slot| *slot = Some(offset_ns));
            let measured = if of == *one { *other } else { *one };
            declared_ns.get_mut(measured).into_iter().for_each(|slot| *slot = slot.or(Some(0)));
            apart.push((*one as u8, *other as u8));
        }
    }
    let options = ClockOptions {
        mode: if options.clocks_off { ClockMode::Off } else { ClockMode::Auto },
        declared_ns,
        sync_ns: options.clock_sync_ns,
        went_back: vantages.iter().map(|vantage| vantage.went_back()).collect(),
    };
    let clocks = solve(vantages.len(), &fits, &options);
    let is_corrected = |vantage: usize| clocks.vantages.get(vantage).is_some_and(|clock| clock.is_corrected);
    let above = fits.iter().filter(|(one, other, fit)| {
        let is_one_way = |there: u64, back: u64| there == 0 || back == 0;
        (is_corrected(*one) || is_corrected(*other))
            && fit.stretches.iter().any(|stretch| is_one_way(stretch.there, stretch.back))
    });
    let mut above: Vec<(u8, u8)> =
        above.map(|(one, other, _)| (*one.min(other) as u8, *one.max(other) as u8)).collect();
    above.extend(apart);
    above.sort_unstable();
    above.dedup();
    (clocks, above)
}

/// Of two vantage points between which packets went one way only, the least difference of their times: that of the second less that of
/// the first. `None` where packets went both ways, or nobody knows which.
fn least_of_one_way(common: &AllCommon, directions: &AllDirections, two: (u8, u8)) -> Option<i64> {
    let (common, directions) = (common.get(&two)?, directions.get(&two)?);
    let difference = |one: &super::matches::Match| one.other_ns.wrapping_sub(one.at_ns) as i64;
    let way = |one: &super::matches::Match| directions.get(&one.pair).copied();
    let first = way(common.once.first()?)?;
    if !common.once.iter().all(|one| way(one) == Some(first)) {
        return None;
    }
    let all = common.once.iter().map(difference);
    match first {
        Direction::There => all.min(),
        Direction::Back => all.max(),
    }
}

/// Tells whether a clock was set back within its capture by nobody knows how much: packets prove how two clocks go apart, and where
/// both were set back, its times serve as they are.
pub(super) fn has_unknown_step(vantage: &VantageSurvey, clock: Option<&VantageClock>) -> bool {
    let is_followed = clock.is_none_or(|clock| !clock.steps.is_empty());
    vantage.went_back() && vantage.steps_back <= STEPS_MAX && !is_followed
}

/// Returns what is told of a clock.
pub(super) fn report(clock: &VantageClock) -> ClockReport {
    ClockReport {
        offset_ns: clock.offset_ns.unwrap_or(0).saturating_add(clock.declared_ns),
        drift_ppm: clock.drift_ppm.unwrap_or(0.0),
        uncertainty_ns: clock.uncertainty_ns,
        steps: clock.steps.iter().map(|step| (step.at_ns, step.by_ns)).collect(),
    }
}

/// Says what was set right, and what does not go together.
pub(super) fn findings(clocks: &Clocks, names: &[String], above_minimum: &[(u8, u8)]) -> Vec<Finding> {
    let name = |at: usize| names.get(at).map_or("", String::as_str);
    let mut found = Vec::new();
    let reference = name(clocks.reference);
    for (at, clock) in clocks.vantages.iter().enumerate() {
        if clock.is_corrected {
            let offset_ns = clock.offset_ns.unwrap_or(0);
            let way = if offset_ns < 0 { "behind" } else { "ahead of" };
            let drift = clock.drift_ppm.map(|ppm| format!(", drifting by {ppm:.1} ppm")).unwrap_or_default();
            let known = clock.uncertainty_ns.map(|ns| format!(", known to {}", span(ns))).unwrap_or_default();
            found.push(Finding {
                code: "clock-corrected",
                is_doubt: false,
                text: format!(
                    "packets prove that the clock of {} was {} {way} that of {reference}{drift}{known}; its times were corrected (`--clock off` leaves them as they are)",
                    name(at), span(offset_ns.unsigned_abs()),
                ),
            });
        }
        for step in &clock.steps {
            found.push(Finding {
                code: "clock-step",
                is_doubt: false,
                text: format!(
                    "the clock of {} was set by {}{} against that of {reference} while they captured; its times were corrected. Let clocks be slewed during a test (`chronyd` without `makestep`)",
                    name(at), if step.by_ns < 0 { "-" } else { "" }, span(step.by_ns.unsigned_abs()),
                ),
            });
        }
    }
    for (one, other) in above_minimum {
        let (one, other) = (name(usize::from(*one)), name(usize::from(*other)));
        found.push(Finding {
            code: "clock-one-way",
            is_doubt: true,
            text: format!(
                "packets between {one} and {other} went one way only, and by the clocks they arrived before they were sent or took longer than a minute: their delays are above the smallest one. Give --clock NAME=OFFSET, or send something back"
            ),
        });
    }
    for contradiction in &clocks.contradictions {
        let (text, one, other) = match contradiction {
            Contradiction::Declared(one, other) => {
                ("the clock offsets that were given are contradicted by packets", one, other)
            }
            Contradiction::Sync(one, other) => {
                ("the clocks differ by more than --clock-sync says, as packets prove", one, other)
            }
            Contradiction::Pairs(one, other) => {
                ("what packets prove of the clocks does not go together", one, other)
            }
        };
        found.push(Finding {
            code: "clock-contradiction",
            is_doubt: true,
            text: format!("{} and {}: {text}; some delays are wrong", name(*one), name(*other)),
        });
    }
    found
}
