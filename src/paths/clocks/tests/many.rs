//! More than two vantage points.

use super::property::for_seeds;
use super::world::{Delays, Truth, packets};
use super::{MS, START, both_ways, one_pair};
use crate::paths::clocks::{
    ClockMode, ClockOptions, Clocks, Contradiction, Crossing, Fit, VantageClock, fit, solve,
};

/// Packets between clocks that are ahead by these offsets, 10 ms there and back.
fn pair(first: usize, second: usize, offsets: &[i64]) -> (usize, usize, Fit) {
    let (of_first, of_second) = (offsets[first], offsets[second]);
    let crossings = both_ways(0..300, 10, 10, |_| of_second - of_first);
    let moved = crossings
        .into_iter()
        .map(|crossing| Crossing { at_ns: crossing.at_ns.saturating_add_signed(of_first), ..crossing });
    (first, second, fit(&moved.collect::<Vec<_>>()))
}

fn offsets_of(clocks: &Clocks) -> Vec<Option<i64>> {
    clocks.vantages.iter().map(|clock| clock.offset_ns).collect()
}

#[test]
fn the_reference_leaves_most_clocks_as_they_are() {
    let offsets = [50 * MS, 0, MS, -2 * MS];
    let fits: Vec<_> =
        [(0, 1), (0, 2), (3, 0), (1, 2), (3, 1), (2, 3)].map(|(a, b)| pair(a, b, &offsets)).into();
    let clocks = solve(4, &fits, &ClockOptions::default());
    assert_eq!((clocks.reference, clocks.contradictions.len()), (1, 0));
    let offset = clocks.vantages[0].offset_ns.unwrap();
    assert_eq!(offsets_of(&clocks), [Some(offset), None, None, None]);
    assert!((offset - 50 * MS).abs() <= 2 * MS, "{offset}");
    // As narrow as the narrowest of all, not as that of the pair.
    let uncertainty_ns = clocks.vantages[0].uncertainty_ns.unwrap();
    assert!(uncertainty_ns <= 10_010_000, "{uncertainty_ns}");
}

#[test]
fn a_row_is_measured_one_by_the_next() {
    for offsets in [[0, 300 * MS, -400 * MS, 7_200_000 * MS], [-90 * MS, 0, 35 * MS, 70 * MS]] {
        for pairs in [[(0, 1), (1, 2), (2, 3)], [(1, 0), (2, 1), (3, 2)], [(1, 0), (1, 2), (3, 2)]] {
            let clocks = solve(4, &pairs.map(|(a, b)| pair(a, b, &offsets)), &ClockOptions::default());
            assert_eq!((clocks.reference, clocks.contradictions.len()), (0, 0));
            for (vantage, clock) in clocks.vantages.iter().enumerate() {
                let ahead = offsets[vantage] - offsets[0];
                assert_eq!(
                    clock.to_common(START.saturating_add_signed(ahead)),
                    START,
                    "{offsets:?} {pairs:?}"
                );
                assert_eq!(clock.to_raw(START), START.saturating_add_signed(ahead));
                let most = 10_000_000 * vantage as u64;
                let uncertainty_ns = clock.uncertainty_ns.unwrap();
                assert!(
                    (most..=most + 20_000 * vantage as u64).contains(&uncertainty_ns),
                    "{uncertainty_ns}"
                );
            }
            // Between neighbours, not by way of the reference.
            let (least, most) = clocks.error_bounds(2, 3);
            assert!(least.unwrap() >= -10_010_000 && most.unwrap() <= 10_010_000);
        }
    }
}

#[test]
fn a_clock_next_to_a_wrong_one_stays_raw() {
    let offsets = [0, 300 * MS, MS];
    let clocks = solve(3, &[pair(0, 1, &offsets), pair(1, 2, &offsets)], &ClockOptions::default());
    assert_eq!(offsets_of(&clocks), [None, Some(300 * MS), None]);
}

#[test]
fn vantage_points_without_packets_in_common_are_not_bounded() {
    let offsets = [0, 300 * MS, 0];
    let fits = [pair(0, 1, &offsets), (1, 2, fit(&[])), (2, 2, pair(0, 1, &offsets).2), (2, 9, fit(&[]))];
    let clocks = solve(3, &fits, &ClockOptions::default());
    assert!(!clocks.vantages[2].is_corrected && clocks.vantages[2].uncertainty_ns.is_none());
    assert_eq!((clocks.error_bounds(0, 2), clocks.error_bounds(1, 2)), ((None, None), (None, None)));
}

#[test]
fn a_declared_offset_is_taken_for_true() {
    let offsets = [0, 300 * MS];
    let of = |declared_ns: &[Option<i64>]| {
        let options = ClockOptions { declared_ns: declared_ns.to_vec(), ..ClockOptions::default() };
        solve(2, &[pair(0, 1, &offsets)], &options)
    };
    // Not in the middle, but possible.
    let clocks = of(&[None, Some(303 * MS)]);
    assert_eq!((clocks.reference, clocks.contradictions.len()), (1, 0));
    assert_eq!(clocks.vantages[1].to_common(START.saturating_add_signed(303 * MS)), START);
    assert!(clocks.vantages.iter().all(|clock| !clock.is_corrected));
    // What one declares corrects the other by it.
    let clocks = of(&[Some(20 * MS), None]);
    assert_eq!((clocks.reference, clocks.vantages[1].offset_ns), (0, Some(320 * MS)));
    assert_eq!(clocks.vantages[0].to_common(START.saturating_add_signed(20 * MS)), START);
    assert_eq!(clocks.vantages[1].to_common(START.saturating_add_signed(300 * MS)), START - 20_000_000);
    // Both, and it cannot be.
    let clocks = of(&[Some(0), Some(200 * MS)]);
    assert_eq!(clocks.contradictions, [Contradiction::Declared(0, 1)]);
    assert!(clocks.vantages.iter().all(|clock| !clock.is_corrected));
}

#[test]
fn the_first_of_a_pair_is_measured_by_the_second() {
    let fit = fit(&both_ways(0..20_000, 1, 1, |ms| 5_000 * MS + ms * 200));
    let options = ClockOptions { declared_ns: vec![None, Some(0)], ..ClockOptions::default() };
    let clocks = solve(2, &[(0, 1, fit)], &options);
    assert_eq!((clocks.reference, clocks.vantages[1].is_corrected), (1, false));
    let clock = &clocks.vantages[0];
    assert!((clock.drift_ppm.unwrap() + 200.0).abs() < 0.2, "{:?}", clock.drift_ppm);
    for ms in [0, 100_000, 199_990] {
        let wrong = clock.to_common(START.saturating_add_signed(ms * MS));
        let wrong = wrong.abs_diff(START.saturating_add_signed(5_000 * MS + ms * MS + ms * 200));
        assert!(wrong < 1_000, "{wrong} after {ms} ms");
    }
}

#[test]
fn a_declared_synchronisation_narrows_the_bounds() {
    let of = |offsets: &[i64], sync_ns| {
        let options = ClockOptions { sync_ns: Some(sync_ns), ..ClockOptions::default() };
        solve(2, &[pair(0, 1, offsets)], &options)
    };
    let clocks = of(&[0, 0], 1_000);
    assert_eq!(clocks.vantages[1].uncertainty_ns, Some(1_000));
    assert_eq!(clocks.error_bounds(0, 1), (Some(-1_000), Some(1_000)));
    // 11 ms ahead, which by the packets can be 1 to 21, and is declared to be at most 3.
    let clocks = of(&[0, 11 * MS], 3_000_000);
    assert_eq!((clocks.vantages[1].offset_ns, clocks.contradictions.len()), (Some(2 * MS), 0));
    let uncertainty_ns = clocks.vantages[1].uncertainty_ns.unwrap();
    assert!((1_000_000..1_010_000).contains(&uncertainty_ns), "{uncertainty_ns}");
    // Which cannot be: what packets prove stands.
    let clocks = of(&[0, 300 * MS], 1_000);
    assert_eq!(clocks.contradictions, [Contradiction::Sync(0, 1)]);
    assert_eq!(clocks.vantages[1].offset_ns, Some(300 * MS));
    assert!(clocks.vantages[1].uncertainty_ns.unwrap() >= 10_000_000);
}

#[test]
fn nothing_is_corrected_where_that_is_switched_off() {
    let options = ClockOptions { mode: ClockMode::Off, ..ClockOptions::default() };
    let clocks = solve(2, &[pair(0, 1, &[0, 300 * MS])], &options);
    assert!(!clocks.vantages[1].is_corrected && clocks.contradictions.is_empty());
    let (least, most) = clocks.error_bounds(0, 1);
    assert!((least.unwrap() - 290 * MS).abs() < 10_000 && (most.unwrap() - 310 * MS).abs() < 10_000);
    assert!(clocks.vantages[1].uncertainty_ns.unwrap() >= 310_000_000);
}

#[test]
fn pairs_that_no_offsets_explain_are_told() {
    // Around a circle, each is 100 ms ahead of the one before.
    let ahead = |first, second| (first, second, pair(0, 1, &[0, 100 * MS]).2);
    let clocks = solve(3, &[ahead(0, 1), ahead(1, 2), ahead(2, 0)], &ClockOptions::default());
    assert_eq!(clocks.contradictions, [Contradiction::Pairs(2, 0)]);
}

#[test]
fn what_one_pair_leaves_open_another_one_settles() {
    // In the middle of what the pairs with the reference say, the third is 46 ms ahead of the second; packets between them say 49 to 57.
    let crossings = |there, back, offset| both_ways(0..300, there, back, move |_| offset);
    let fits = [
        (0, 1, fit(&crossings(5, 1, 200 * MS))),
        (0, 2, fit(&crossings(1, 5, 250 * MS))),
        (1, 2, fit(&crossings(7, 1, 50 * MS))),
    ];
    let clocks = solve(3, &fits, &ClockOptions::default());
    assert_eq!((clocks.reference, clocks.contradictions.len()), (0, 0), "{:?}", offsets_of(&clocks));
    let [of_second, of_third] = [1, 2].map(|vantage| clocks.vantages[vantage].offset_ns.unwrap());
    assert!((199 * MS..=205 * MS).contains(&of_second) && (245 * MS..=251 * MS).contains(&of_third));
    assert!((49 * MS..=57 * MS).contains(&(of_third - of_second)), "{of_second} {of_third}");
}

#[test]
fn later_stamps_give_no_earlier_times() {
    for_seeds(60, |rng| {
        let drift_ppm = (rng.f64() - 0.5) * 1900.0;
        let truth = Truth { offset_ns: rng.i64(-MS..MS), drift_ppm, ..Truth::default() };
        let delays = [Delays { least_ns: 20_000, jitter_ns: 10_000.0 }; 2];
        let crossings = packets(rng, START, &truth, 500, 20_000 * MS, delays);
        let clock: &VantageClock = &one_pair(fit(&crossings)).vantages[1];
        let mut before = 0;
        for raw in START - 1_000..START + 1_000 {
            let time = clock.to_common(raw);
            assert!(time >= before, "{raw} {drift_ppm}");
            before = time;
        }
        assert!(
            clock.to_common(u64::MAX) >= clock.to_common(START) && clock.to_common(0) <= clock.to_common(1)
        );
    });
}

#[test]
fn the_truth_about_many_lies_within_the_bounds() {
    for_seeds(60, |rng| {
        let vantages = rng.usize(2..7);
        let truths: Vec<Truth> = (0..vantages)
            .map(|_| {
                let most = [0, 2 * MS, 1_000_000 * MS][rng.usize(..3)];
                let drift_ppm = if rng.bool() { 0.0 } else { (rng.f64() - 0.5) * 100.0 };
                Truth { offset_ns: rng.i64(-most..=most), drift_ppm, ..Truth::default() }
            })
            .collect();
        let mut fits = Vec::new();
        for second in 1..vantages {
            for first in 0..second {
                if first + 1 == second || rng.u8(..) < 100 {
                    let (a, b) = if rng.bool() { (first, second) } else { (second, first) };
                    fits.push((a, b, between(rng, &truths[a], &truths[b])));
                }
            }
        }
        let clocks = solve(vantages, &fits, &ClockOptions::default());
        // A drift that no pair by which clocks are measured proves may contradict another one.
        let is_any_drifting = truths.iter().any(|truth| truth.drift_ppm != 0.0);
        assert!(
            is_any_drifting || clocks.contradictions.is_empty(),
            "{:?} {truths:?}",
            clocks.contradictions
        );
        for seconds in [2, 15, 28] {
            let time = seconds * 1_000 * MS;
            // What is wrong of each clock once it is corrected.
            let common = |vantage: usize| {
                let raw = START.saturating_add_signed(time + truths[vantage].at(time));
                clocks.vantages[vantage].to_common(raw).cast_signed()
            };
            for a in 0..vantages {
                for b in 0..vantages {
                    let error = common(b) - common(a);
                    let (least, most) = clocks.error_bounds(a, b);
                    let slack = 3 + (most.unwrap() - least.unwrap()) / 500;
                    let bounds = least.unwrap() - slack..=most.unwrap() + slack;
                    assert!(bounds.contains(&error), "{a} {b} {error} {bounds:?} {truths:?}");
                }
            }
        }
    });
}

/// Packets between two clocks that are both wrong.
fn between(rng: &mut fastrand::Rng, first: &Truth, second: &Truth) -> Fit {
    let least_ns = rng.i64(1..20) * MS;
    let delays =
        [Delays { least_ns, jitter_ns: 1e6 }, Delays { least_ns: rng.i64(1..20) * MS, jitter_ns: 2e6 }];
    let by_true_time = packets(rng, START, &Truth::default(), 1_500, 30_000 * MS, delays);
    let stamped = by_true_time.into_iter().map(|crossing| {
        let at = crossing.at_ns.cast_signed() - START.cast_signed();
        let (first, second_at) = (first.at(at), at + crossing.difference_ns);
        Crossing {
            at_ns: crossing.at_ns.saturating_add_signed(first),
            difference_ns: crossing.difference_ns + second.at(second_at) - first,
            ..crossing
        }
    });
    fit(&stamped.collect::<Vec<_>>())
}
