//! Against an oracle: hosts whose offset, drift, wander, steps and delays are drawn.

use super::world::{Delays, Truth, packets};
use crate::paths::clocks::{ClockOptions, Crossing, Fit, Line, Stretch, fit, solve};

const START: u64 = 1_700_000_000_000_000_000;
const SECOND: i64 = 1_000_000_000;

/// Runs a check on many seeds, and says which one failed.
pub(super) fn for_seeds(count: u64, check: impl Fn(&mut fastrand::Rng) + std::panic::RefUnwindSafe) {
    for seed in 0..count {
        let checked = std::panic::catch_unwind(|| check(&mut fastrand::Rng::with_seed(seed)));
        assert!(checked.is_ok(), "with seed {seed}");
    }
}

fn delays(rng: &mut fastrand::Rng) -> [Delays; 2] {
    let mut one = || {
        let least_ns = 100_000 * rng.i64(1..=200);
        Delays { least_ns, jitter_ns: least_ns as f64 * rng.f64() * 2.0 }
    };
    [one(), one()]
}

/// An offset of up to hours, or up to the delay.
fn offset(rng: &mut fastrand::Rng) -> i64 {
    let scale = [0, 1_000_000, 20_000_000, SECOND, 10_000 * SECOND];
    let most = scale[rng.usize(..scale.len())];
    rng.i64(-most..=most)
}

fn after(at_ns: u64) -> i64 {
    at_ns.cast_signed() - START.cast_signed()
}

/// The truth lies within the bounds at the knots and between them.
fn check_bounds(fit: &Fit, truth: &Truth, is_told: impl Fn(&Stretch, u64) -> bool) {
    let mut checked = 0;
    for stretch in &fit.stretches {
        for step in 0..=200 {
            let at_ns = stretch.first_ns + (stretch.last_ns - stretch.first_ns) / 200 * step;
            if is_told(stretch, at_ns) {
                let (lower, upper) = stretch.bounds(at_ns);
                let offset = truth.at(after(at_ns));
                assert!(lower.is_none_or(|lower| lower <= offset + 2), "{lower:?} {offset} {truth:?}");
                assert!(upper.is_none_or(|upper| upper >= offset - 2), "{upper:?} {offset} {truth:?}");
                checked += 1;
            }
        }
    }
    assert!(checked > 0);
}

/// No packet has a negative delay by the line of its stretch, but for what was left out. Returns the smallest sum of delays.
fn check_delays(stretch: &Stretch, line: &Line, crossings: &[Crossing]) -> i64 {
    let inside =
        crossings.iter().filter(|crossing| (stretch.first_ns..=stretch.last_ns).contains(&crossing.at_ns));
    let (mut there, mut back) = (i64::MAX, i64::MAX);
    for crossing in inside {
        let above = crossing.difference_ns - line.at(crossing.at_ns);
        *(if crossing.is_back { &mut back } else { &mut there }) =
            if crossing.is_back { back.min(-above) } else { there.min(above) };
    }
    assert!(there >= -1 && back >= -1, "{there} {back}");
    there.saturating_add(back)
}

#[test]
fn clocks_that_drift_evenly() {
    for_seeds(300, |rng| {
        let drift_ppm = if rng.bool() { 0.0 } else { (rng.f64() - 0.5) * 800.0 };
        let truth = Truth { offset_ns: offset(rng), drift_ppm, ..Truth::default() };
        let length_ns = SECOND * rng.i64(1..100);
        let count = rng.usize(2..4_000);
        let delays = delays(rng);
        let crossings = packets(rng, START, &truth, count, length_ns, delays);
        let fit = fit(&crossings);
        assert_eq!((fit.stretches.len(), fit.outliers, fit.steps.len()), (1, 0, 0));
        check_bounds(&fit, &truth, |_, _| true);
        let stretch = &fit.stretches[0];
        let (least, most) = stretch.drifts;
        assert!(
            (least - 1e-9..=most + 1e-9).contains(&(drift_ppm * 1e-6)),
            "{drift_ppm} {:?}",
            stretch.drifts
        );
        assert!(drift_ppm != 0.0 || stretch.is_constant_possible);
        assert!(truth.offset_ns != 0 || drift_ppm != 0.0 || stretch.is_zero_possible);
        let sum = check_delays(stretch, &stretch.offset, &crossings);
        let Some(half_gap_ns) = stretch.half_gap_ns else { return };
        assert!(half_gap_ns.abs_diff(sum.unsigned_abs() / 2) <= 3);
        // Within half the gap where the clocks do not drift, or where many packets tell how they do.
        let wrong = |at_ns| stretch.offset.at(at_ns).abs_diff(truth.at(after(at_ns)));
        let wrong = wrong(stretch.first_ns).max(wrong(stretch.last_ns));
        if drift_ppm == 0.0 && stretch.offset.slope == 0.0 {
            assert!(wrong <= half_gap_ns + 1, "{wrong} {half_gap_ns}");
        }
        let clock = &solve(2, &[(0, 1, fit.clone())], &ClockOptions::default()).vantages[1];
        let uncertainty_ns = clock.uncertainty_ns.unwrap();
        for crossing in &crossings {
            let raw_ns = crossing.at_ns.saturating_add_signed(truth.at(after(crossing.at_ns)));
            let wrong = clock.to_common(raw_ns).abs_diff(crossing.at_ns);
            // A drift of below 1000 ppm makes that much of the uncertainty.
            assert!(wrong <= uncertainty_ns + uncertainty_ns / 500 + 3, "{wrong} {uncertainty_ns}");
        }
    });
}

#[test]
fn many_packets_tell_the_drift() {
    for_seeds(30, |rng| {
        let drift_ppm = (rng.f64() - 0.5) * 400.0;
        let truth = Truth { offset_ns: offset(rng), drift_ppm, ..Truth::default() };
        let delays = [1_000_000, 3_000_000].map(|least_ns| Delays { least_ns, jitter_ns: 500_000.0 });
        let crossings = packets(rng, START, &truth, 20_000, 100 * SECOND, delays);
        let fit = fit(&crossings);
        let stretch = &fit.stretches[0];
        if !stretch.is_constant_possible {
            let half_gap_ns = stretch.half_gap_ns.unwrap();
            assert!((1_999_000..2_050_000).contains(&half_gap_ns), "{half_gap_ns}");
            assert!(
                (stretch.offset.slope * 1e6 - drift_ppm).abs() < 1.5,
                "{} {drift_ppm}",
                stretch.offset.slope
            );
            for at_ns in [stretch.first_ns, stretch.last_ns] {
                let wrong = stretch.offset.at(at_ns).abs_diff(truth.at(after(at_ns)));
                // The middle is 1 ms off, half of what the delays differ by.
                assert!(wrong.abs_diff(1_000_000) < 100_000, "{wrong}");
            }
        }
    });
}

#[test]
fn clocks_that_wander() {
    for_seeds(40, |rng| {
        let period = 120.0 + rng.f64() * 600.0;
        let amplitude = rng.f64() * 30e-6 * 1e9 * period / std::f64::consts::TAU;
        let drift_ppm = (rng.f64() - 0.5) * 100.0;
        let truth =
            Truth { offset_ns: offset(rng), drift_ppm, wander: Some((amplitude, period)), steps: Vec::new() };
        let delays = delays(rng);
        let crossings = packets(rng, START, &truth, 30_000, 400 * SECOND, delays);
        let fit = fit(&crossings);
        assert!(fit.steps.is_empty(), "{:?} {truth:?}", fit.steps);
        assert!(fit.outliers <= 2 * fit.stretches.len() as u64, "{} {}", fit.outliers, fit.stretches.len());
        check_bounds(&fit, &truth, |_, _| true);
    });
}

#[test]
fn clocks_that_are_set() {
    for_seeds(150, |rng| {
        let delays = delays(rng);
        let room: f64 = delays.iter().map(|delays| delays.least_ns as f64 + 4.0 * delays.jitter_ns).sum();
        let mut truth =
            Truth { offset_ns: offset(rng), drift_ppm: (rng.f64() - 0.5) * 20.0, ..Truth::default() };
        for n in 0..rng.i64(1..4) {
            let by_ns = (room * (2.0 + 30.0 * rng.f64())) as i64;
            truth.steps.push(((n * 20 + 15) * SECOND, if rng.bool() { by_ns } else { -by_ns }));
        }
        let crossings = packets(rng, START, &truth, 8_000, 90 * SECOND, delays);
        let fit = fit(&crossings);
        let found: Vec<_> = fit.steps.iter().map(|step| (after(step.at_ns), step.by_ns)).collect();
        assert_eq!(found.len(), truth.steps.len(), "{found:?} {truth:?} {delays:?}");
        // Whatever was left out was on its way.
        assert_eq!(fit.outliers, 0, "{truth:?} {delays:?}");
        for ((at_ns, by_ns), (true_at_ns, true_by_ns)) in found.iter().zip(&truth.steps) {
            assert!((at_ns - true_at_ns).abs() < 2 * SECOND, "{at_ns} {true_at_ns}");
            assert!((by_ns - true_by_ns).unsigned_abs() < room as u64, "{by_ns} {true_by_ns}");
        }
        // What was in flight then is on either side.
        let longest_ns = room.max(1e8) as i64 * 2;
        let is_told = |_: &Stretch, at_ns: u64| {
            truth.steps.iter().all(|(step_ns, _)| (after(at_ns) - step_ns).abs() > longest_ns)
        };
        check_bounds(&fit, &truth, is_told);
        let clock = &solve(2, &[(0, 1, fit)], &ClockOptions::default()).vantages[1];
        let uncertainty_ns = clock.uncertainty_ns.unwrap();
        for time in (0..90 * SECOND).step_by(100_000_000) {
            let at_ns = START.saturating_add_signed(time);
            if truth.steps.iter().all(|(step_ns, _)| (time - step_ns).abs() > longest_ns) {
                let wrong =
                    clock.to_common_near(at_ns.saturating_add_signed(truth.at(time)), at_ns).abs_diff(at_ns);
                assert!(
                    wrong <= uncertainty_ns + uncertainty_ns / 500 + 3,
                    "{time} {wrong} {uncertainty_ns} {truth:?} {clock:?}"
                );
            }
        }
    });
}

#[test]
fn an_offset_changes_neither_gap_nor_drift() {
    for_seeds(100, |rng| {
        let truth = Truth { offset_ns: 0, drift_ppm: (rng.f64() - 0.5) * 500.0, ..Truth::default() };
        let delays = delays(rng);
        let crossings = packets(rng, START, &truth, 1_000, 30 * SECOND, delays);
        let by_ns = offset(rng);
        let moved: Vec<_> =
            crossings.iter().map(|c| Crossing { difference_ns: c.difference_ns + by_ns, ..*c }).collect();
        let (before, after) = (fit(&crossings), fit(&moved));
        let (before, after) = (&before.stretches[0], &after.stretches[0]);
        assert!(before.half_gap_ns.unwrap().abs_diff(after.half_gap_ns.unwrap()) <= 1);
        assert_eq!((before.offset.slope, before.drifts), (after.offset.slope, after.drifts));
        let moved = Line { offset_ns: before.offset.offset_ns + by_ns, ..before.offset };
        assert!(moved.offset_ns.abs_diff(after.offset.offset_ns) <= 1);
    });
}

#[test]
fn an_asymmetric_path_on_one_clock_stays_asymmetric() {
    for_seeds(200, |rng| {
        let delays = delays(rng);
        let count = rng.usize(1..3_000);
        let crossings = packets(rng, START, &Truth::default(), count, 20 * SECOND, delays);
        let clocks = solve(2, &[(0, 1, fit(&crossings))], &ClockOptions::default());
        assert!(clocks.vantages.iter().all(|clock| !clock.is_corrected), "{delays:?}");
        assert_eq!(clocks.vantages[1].to_common(START), START);
    });
}

#[test]
fn single_wild_stamps_change_nothing() {
    for_seeds(150, |rng| {
        let truth =
            Truth { offset_ns: offset(rng), drift_ppm: (rng.f64() - 0.5) * 100.0, ..Truth::default() };
        let delays = delays(rng);
        let mut crossings = packets(rng, START, &truth, 3_000, 30 * SECOND, delays);
        let clean = fit(&crossings);
        for _ in 0..rng.usize(1..6) {
            let (time, by_ns) = (rng.i64(0..30 * SECOND), SECOND * rng.i64(1..10_000));
            let is_back = rng.bool();
            let difference_ns = truth.at(time) + if is_back { by_ns } else { -by_ns };
            crossings.push(Crossing { at_ns: START.saturating_add_signed(time), difference_ns, is_back });
        }
        let with = fit(&crossings);
        assert_eq!((with.stretches.len(), with.steps.len()), (1, 0));
        assert_eq!(with.outliers, crossings.len() as u64 - 3_000);
        assert_eq!(with.stretches[0].knots, clean.stretches[0].knots);
    });
}
