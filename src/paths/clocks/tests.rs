//! By hand: what a few packets prove.

mod growth;
mod many;
mod property;
mod world;

use super::*;

const MS: i64 = 1_000_000;
const START: u64 = 1_700_000_000_000_000_000;

/// A packet `after_ms` after the start, by the first clock.
fn crossing(after_ms: i64, difference_ns: i64, is_back: bool) -> Crossing {
    Crossing { at_ns: START.saturating_add_signed(after_ms * MS), difference_ns, is_back }
}

/// Packets each 10 ms, `there_ms` there and `back_ms` back, to a clock that is ahead by `offset(ms after the start)` nanoseconds.
pub(super) fn both_ways(
    range: std::ops::Range<i64>,
    there_ms: i64,
    back_ms: i64,
    offset: impl Fn(i64) -> i64,
) -> Vec<Crossing> {
    range
        .flat_map(|n| {
            let ms = n * 10;
            let there = crossing(ms, there_ms * MS + offset(ms), false);
            [there, crossing(ms + 5, offset(ms + 5) - back_ms * MS, true)]
        })
        .collect()
}

pub(super) fn one_pair(fit: Fit) -> Clocks {
    solve(2, &[(0, 1, fit)], &ClockOptions::default())
}

#[test]
fn an_asymmetric_path_on_one_clock_stays_as_it_is() {
    let fit = fit(&both_ways(0..300, 5, 15, |_| 0));
    assert_eq!((fit.stretches.len(), fit.outliers, fit.steps.len()), (1, 0, 0));
    let stretch = &fit.stretches[0];
    assert_eq!(stretch.half_gap_ns, Some(10 * MS.unsigned_abs()));
    assert!(stretch.is_zero_possible && stretch.is_constant_possible);
    let (lower, upper) = stretch.bounds(START + 1_000_000_000);
    assert!(
        (lower.unwrap() + 15 * MS).abs() <= 1 && (upper.unwrap() - 5 * MS).abs() <= 1,
        "{lower:?} {upper:?}"
    );
    let clocks = one_pair(fit);
    assert!(!clocks.vantages[1].is_corrected);
    assert_eq!(clocks.vantages[1].to_common(START + 77), START + 77);
    // The one delay is 5 ms, less an offset from -15 to 5 ms, which may have drifted at the ends of the capture.
    let (least, most) = clocks.error_bounds(0, 1);
    assert!((least.unwrap() + 15 * MS).abs() < 10_000 && (most.unwrap() - 5 * MS).abs() < 10_000);
    assert!(clocks.vantages[1].uncertainty_ns.unwrap().abs_diff(15_000_000) < 10_000);
}

#[test]
fn an_offset_that_is_proved_is_taken_out() {
    for offset in [-15 * MS, 25 * MS, 3_600_000 * MS, -7_200_000 * MS] {
        let fit = fit(&both_ways(0..100, 10, 10, |_| offset));
        let stretch = &fit.stretches[0];
        assert!(!stretch.is_zero_possible && stretch.is_constant_possible);
        assert_eq!(stretch.offset, Line { offset_ns: offset, ..stretch.offset });
        assert_eq!(stretch.half_gap_ns, Some(10 * MS.unsigned_abs()));
        let clocks = one_pair(fit);
        let clock = &clocks.vantages[1];
        assert!(clock.is_corrected && !clocks.vantages[0].is_corrected);
        assert_eq!((clock.offset_ns, clock.drift_ppm), (Some(offset), None));
        assert_eq!(clock.to_common(START.saturating_add_signed(offset)), START);
        assert_eq!(clock.to_raw(START), START.saturating_add_signed(offset));
    }
}

#[test]
fn a_drift_that_is_proved_is_taken_out() {
    for ppm in [-900, -200, 200, 900] {
        let drifting = |ms: i64| ms * ppm;
        let fit = fit(&both_ways(0..20_000, 1, 1, drifting));
        assert_eq!((fit.stretches.len(), fit.outliers), (1, 0), "{ppm}");
        let stretch = &fit.stretches[0];
        assert!(!stretch.is_constant_possible);
        assert!((stretch.offset.slope * 1e6 - ppm as f64).abs() < 0.1, "{ppm}: {}", stretch.offset.slope);
        let clock = &one_pair(fit).vantages[1];
        for after_ms in [0, 100_000, 199_990] {
            let raw = START.saturating_add_signed(after_ms * MS + drifting(after_ms));
            let wrong = clock.to_common(raw).abs_diff(START + (after_ms * MS).unsigned_abs());
            assert!(wrong < 1_000, "{ppm}: wrong by {wrong} ns after {after_ms} ms");
        }
    }
}

#[test]
fn a_short_capture_proves_no_drift() {
    // The least delays are the first there and the last back: the line with the most room rises by 1 ms in a second.
    let delays = [(0, 10_000, false), (10, 20_000, true), (990, 11_000, false), (1000, 19_000, true)];
    let crossings = delays.map(|(ms, delay_us, is_back)| {
        crossing(ms, if is_back { -delay_us * 1_000 } else { delay_us * 1_000 }, is_back)
    });
    let fit = fit(&crossings);
    assert_eq!(fit.stretches[0].offset.slope, 0.0);
    assert!(fit.stretches[0].is_constant_possible && fit.stretches[0].drifts == (-0.001, 0.001));
}

#[test]
fn a_step_divides_what_is_before_from_what_is_after() {
    for step in [-500 * MS, -100 * MS, 100 * MS, 500 * MS] {
        let stepping = |ms: i64| if ms < 2_000 { 0 } else { step };
        let fit = fit(&both_ways(0..500, 5, 15, stepping));
        assert_eq!((fit.stretches.len(), fit.outliers), (2, 0), "{step}");
        assert_eq!(fit.steps, [Step { at_ns: START + 2_000_000_000, by_ns: step }]);
        let clocks = one_pair(fit);
        let clock = &clocks.vantages[1];
        assert_eq!(clock.steps, [Step { at_ns: START + 2_000_000_000, by_ns: step }]);
        // What was right before the step tells what is right after it: 5 ms there and 15 back.
        let mut near = START;
        for ms in (0..4_990).step_by(10) {
            let sent = START.saturating_add_signed(ms * MS);
            let arrives = sent + 5_000_000;
            near = clock.to_common_near(arrives.saturating_add_signed(stepping(ms + 5)), near);
            // In flight while the clock is set, it has the stamp of either.
            assert!(
                (1_990..2_000).contains(&ms) || near == arrives,
                "{step} {ms}: {}",
                near.abs_diff(arrives)
            );
        }
        assert_eq!(clock.to_raw(START + 1_000_000_000), START + 1_000_000_000);
        assert_eq!(clock.to_raw(START + 3_000_000_000), (START + 3_000_000_000).saturating_add_signed(step));
    }
}

#[test]
fn what_was_wrong_before_a_step_is_told_by_what_is_right_after() {
    let fit = fit(&both_ways(0..500, 5, 15, |ms| if ms < 2_000 { -300 * MS } else { 0 }));
    let clock = &one_pair(fit).vantages[1];
    assert_eq!(
        (clock.offset_ns, clock.to_raw(START + 3_000_000_000)),
        (Some(-300 * MS), START + 3_000_000_000)
    );
    assert_eq!(clock.to_common(START + 700_000_000), START + 1_000_000_000);
}

#[test]
fn what_arrives_just_before_a_step_forward_has_the_stamp_of_before() {
    let stepping = |ms: i64| if ms < 2_000 { 0 } else { 500 * MS };
    let crossings: Vec<_> = (0..4_000)
        .flat_map(|ms| {
            let there = crossing(ms, 5 * MS + stepping(ms + 5), false);
            [there, crossing(ms, stepping(ms - 15) - 15 * MS, true)]
        })
        .collect();
    let fit = fit(&crossings);
    assert_eq!((fit.stretches.len(), fit.steps.len(), fit.outliers), (2, 1, 0));
    let clock = &one_pair(fit).vantages[1];
    for ms in 0..4_000 {
        let time = START + (ms * MS).unsigned_abs();
        assert_eq!(clock.to_common(time.saturating_add_signed(stepping(ms))), time, "{ms} ms");
    }
}

#[test]
fn packets_of_one_moment_contradict_each_other() {
    // One packet there is quick; the one back contradicts that one alone.
    let mut crossings = both_ways(0..100, 30, 15, |_| 0);
    crossings.extend([crossing(500, 5 * MS, false), crossing(500, 6 * MS, true)]);
    let fit = fit(&crossings);
    assert_eq!((fit.outliers, fit.stretches.len()), (1, 1));
    assert_eq!(fit.stretches[0].half_gap_ns, Some(10 * MS.unsigned_abs()));
}

#[test]
fn a_clock_that_bends_is_not_taken_for_wild_stamps() {
    // By 1 ppm more each second.
    let fit = fit(&both_ways(0..30_000, 1, 1, |ms| ms * ms / 2_000));
    assert!(fit.stretches.len() > 1);
    assert_eq!((fit.outliers, fit.steps.len()), (0, 0));
}

#[test]
fn wild_stamps_are_left_out() {
    let good = both_ways(0..300, 5, 15, |_| 0);
    let wild = [
        (0, 900 * MS, true),
        (3, -900 * MS, false),
        (1_004, 50 * MS, true),
        (1_707, -3_600_000 * MS, false),
        (2_994, 40 * MS, true),
    ];
    let mut crossings = good.clone();
    crossings.extend(wild.map(|(ms, difference, is_back)| crossing(ms, difference, is_back)));
    // No time that a clock could show.
    crossings.push(Crossing { at_ns: u64::MAX, difference_ns: 0, is_back: false });
    crossings.push(Crossing { at_ns: 0, difference_ns: i64::MIN, is_back: true });
    let (with, without) = (fit(&crossings), fit(&good));
    assert_eq!((with.stretches.len(), with.steps.len(), with.outliers), (1, 0, 7));
    assert_eq!(with.stretches[0].knots, without.stretches[0].knots);
}

#[test]
fn a_slower_route_is_no_step() {
    let mut crossings = both_ways(0..200, 5, 15, |_| 0);
    crossings.extend(both_ways(200..400, 25, 15, |_| 0));
    crossings.extend(both_ways(400..600, 3, 30, |_| 0));
    let fit = fit(&crossings);
    assert_eq!((fit.stretches.len(), fit.steps.len(), fit.outliers), (1, 0, 0));
    assert_eq!(fit.stretches[0].half_gap_ns, Some(9_000_000));
}

#[test]
fn one_direction_bounds_on_one_side() {
    let there: Vec<_> = both_ways(0..100, 5, 15, |_| 0).into_iter().filter(|c| !c.is_back).collect();
    let right = fit(&there);
    assert_eq!(right.stretches[0].bounds(START + 5), (None, Some(5 * MS)));
    assert_eq!((right.stretches[0].half_gap_ns, right.stretches[0].is_zero_possible), (None, true));
    let clocks = one_pair(right);
    assert!(!clocks.vantages[1].is_corrected && clocks.vantages[1].uncertainty_ns.is_none());
    let (least, most) = clocks.error_bounds(0, 1);
    assert!(least.is_none() && most.unwrap() >= 5 * MS);
    // Negative delays prove an offset: what is left are delays above the smallest.
    let wrong: Vec<_> =
        there.iter().map(|c| Crossing { difference_ns: c.difference_ns - 9 * MS, ..*c }).collect();
    let clocks = one_pair(fit(&wrong));
    assert_eq!((clocks.vantages[1].offset_ns, clocks.vantages[1].uncertainty_ns), (Some(-4 * MS), None));
}

#[test]
fn nothing_proves_nothing() {
    let fit = fit(&[]);
    assert_eq!((fit.stretches.len(), fit.outliers), (0, 0));
    let clocks = one_pair(fit);
    assert_eq!(clocks.vantages.len(), 2);
    assert!(clocks.vantages.iter().all(|clock| !clock.is_corrected));
    assert_eq!((clocks.vantages[0].uncertainty_ns, clocks.vantages[1].uncertainty_ns), (Some(0), None));
    assert_eq!(clocks.error_bounds(0, 1), (None, None));
    assert!(solve(0, &[], &ClockOptions::default()).vantages.is_empty());
}
