//! Promise: whatever happens on a path, and however wrong the clocks along it are, what is found is what happened: counts exactly where
//! captures tell, within what is printed where they do not, delays within their uncertainty.
//!
//! `DRAWS=1000000` draws more, `SEED=7` begins with another seed; each draw has the seed after that of the one before.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

mod drawn_support;

use crate::drawn_support::{Draw, Vantage};
use panther_events::event::Symbol;
use panther_events::event::Symbols;
use panther_events::ingest::feed::{CaptureInput, FeedOptions, feed};
use panther_events::ingest::{Coverage, PacketDigest, survey};
use panther_events::paths::{PathReport, Sightings, SightingsOptions, SightingsReport, SurveyOptions};
use panther_events::pipeline::{Builder, PipelineOptions, Topology};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// Reads captures as `ingest` does.
fn found(draw: &Draw, dir: &Path) -> SightingsReport {
    let inputs: Vec<CaptureInput> =
        draw.write(dir).into_iter().map(|(vantage, path)| CaptureInput { path, vantage }).collect();
    let digest = PacketDigest::new(Coverage::Whole);
    let (progress, never) = (AtomicU64::new(0), AtomicBool::new(false));
    let survey = Arc::new(survey(&inputs, digest, &SurveyOptions::default(), &progress, &never).unwrap());
    let symbols = Arc::new(Symbols::new());
    let mut builder =
        Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
    builder.symbols(Arc::clone(&symbols));
    let options = SightingsOptions {
        vantages: inputs.iter().map(|input| Symbol::of(&input.vantage)).collect(),
        survey: Some(Arc::clone(&survey)),
        ..SightingsOptions::default()
    };
    let key =
        builder.observer("sightings", move |setup| Sightings::new(&options).holding_names(setup.symbols));
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("ingest").unwrap();
    let options = FeedOptions { digest, survey: Some(survey) };
    let pump = || {
        pipeline.poll();
    };
    feed(&inputs, options, &mut emitter, &symbols, &progress, pump).unwrap();
    drop(emitter);
    pipeline.shutdown().report(key).unwrap().clone()
}

/// What is true of the packets between two vantage points in one direction, as far as captures show it.
struct Truth {
    /// Seen to be sent: with the true time and the stamp of each sending, and of each arrival.
    packets: Vec<Between>,
    /// Sightings behind of what was not seen before.
    unseen: u64,
}

struct Between {
    sent: Vec<(i64, i64)>,
    arrived: Vec<(i64, i64)>,
    /// It was lost between both.
    is_lost: bool,
    /// A vantage point behind saw it.
    has_passed: bool,
}

impl Truth {
    fn of(draw: &Draw, from: usize, to: usize) -> Truth {
        let by_packet = |vantage: &Vantage| {
            let mut seen: BTreeMap<usize, Vec<(i64, i64)>> = BTreeMap::new();
            for one in &vantage.seen {
                seen.entry(one.packet).or_default().push((one.time_ns, one.stamp_ns));
            }
            seen
        };
        let all: Vec<_> = draw.vantages.iter().map(by_packet).collect();
        let is_back = to < from;
        let mut truth = Truth { packets: Vec::new(), unseen: 0 };
        for (number, packet) in
            draw.packets.iter().enumerate().filter(|(_, packet)| packet.is_back == is_back)
        {
            let sent = all[from].get(&number).cloned().unwrap_or_default();
            let arrived = all[to].get(&number).cloned().unwrap_or_default();
            let is_between = |at: usize| if is_back { to < at && at <= from } else { from <= at && at < to };
            if sent.is_empty() {
                truth.unseen += arrived.len() as u64;
                continue;
            }
            let mut behind = if is_back { 0..to } else { to + 1..draw.vantages.len() };
            let has_passed = behind.any(|at| all[at].contains_key(&number));
            let is_lost = packet.lost_behind.is_some_and(is_between);
            truth.packets.push(Between { sent, arrived, is_lost, has_passed });
        }
        truth
    }

    /// All pairs in order of arrival: the stamps of sending and arrival, and the true delay. Of copies the n-th goes with the n-th.
    fn pairs(&self) -> Vec<(i64, i64, i64)> {
        let of = |between: &Between| {
            let pairs = between.sent.iter().zip(&between.arrived);
            pairs.map(|(sent, arrived)| (sent.1, arrived.1, arrived.0 - sent.0)).collect::<Vec<_>>()
        };
        let mut pairs: Vec<_> = self.packets.iter().flat_map(of).collect();
        pairs.sort_by_key(|(_, arrived, _)| *arrived);
        pairs
    }

    /// Arrivals beyond the first of what was sent.
    fn duplicated(&self) -> u64 {
        self.packets.iter().map(|one| one.arrived.len().saturating_sub(one.sent.len().max(1))).sum::<usize>()
            as u64
    }

    /// Packets that were seen several times, of which nobody knows which was which.
    fn several(&self) -> usize {
        self.packets
            .iter()
            .filter(|one| one.sent.len() > 1 || one.arrived.len() > 1)
            .map(|one| one.arrived.len())
            .sum()
    }
}

/// Compares a path with the truth.
fn compare(draw: &Draw, from: usize, to: usize, path: &PathReport, faults: &mut Vec<String>) {
    let truth = Truth::of(draw, from, to);
    let label = format!("{} > {}", draw.vantages[from].name, draw.vantages[to].name);
    let mut check = |is_right: bool, what: String| {
        if !is_right {
            faults.push(format!("{label}: {what}"));
        }
    };
    let pairs = truth.pairs();
    let sendings: u64 = truth.packets.iter().map(|one| one.sent.len() as u64).sum();
    let arrivals = path.sent - path.lost_max - path.beyond_horizon;
    check(path.beyond_horizon == 0, format!("{} beyond the horizon", path.beyond_horizon));
    check(arrivals == pairs.len() as u64, format!("arrivals {arrivals}, not {}", pairs.len()));
    check(path.negative == 0, format!("{} arrived before they were sent", path.negative));
    check(
        path.duplicated == truth.duplicated(),
        format!("duplicated {}, not {}", path.duplicated, truth.duplicated()),
    );

    // Lost were so many; those that passed another vantage point were not.
    let lost = truth.packets.iter().filter(|one| one.is_lost && one.arrived.is_empty()).count() as u64;
    let most = path.lost_max + path.undetermined + path.outside;
    check((path.lost..=most).contains(&lost), format!("lost {lost}, not within {} and {most}", path.lost));
    // What was sent while the far side surely looked for it, as long as any packet took, and its clock may be wrong.
    if let Some((first, last)) = draw.vantages[to].span_ns() {
        let delays = || pairs.iter().map(|(_, _, delay)| *delay);
        let (least, longest) = (delays().min().unwrap_or(0), delays().max().unwrap_or(0));
        let wait = longest + (longest - least).max(longest / 8).max(1_000_000);
        let slack = 2 * path.delay_uncertainty_ns.unwrap_or(longest as u64) as i64 + 1_000_000;
        let is_sure = |time: i64| time >= first + slack && time <= last - wait - slack;
        let sure = truth.packets.iter().filter(|one| {
            one.is_lost && one.arrived.is_empty() && one.sent.iter().all(|(time, _)| is_sure(*time))
        });
        let sure = sure.count() as u64;
        check(path.lost >= sure, format!("lost {}, at least {sure}", path.lost));
    }
    let all = path.sent + path.undetermined + path.outside;
    if draw.is_whole() {
        check(
            all == sendings,
            format!("sent {} + {} + {}, not {sendings}", path.sent, path.undetermined, path.outside),
        );
        check(path.unseen == 0, format!("{} unseen", path.unseen));
    } else {
        let passed =
            truth.packets.iter().filter(|one| one.arrived.is_empty() && one.has_passed).count() as u64;
        let told = all + path.unseen;
        let (least, most) = (sendings - passed, sendings + truth.unseen);
        check(
            (least..=most).contains(&told),
            format!("sent and others {told}, not within {least} and {most}"),
        );
    }

    // Reordering by stamps: where they are equal, either order is right.
    let (mut newest, mut reordered) = (i64::MIN, 0);
    for (sent, _, _) in &pairs {
        reordered += u64::from(*sent < newest);
        newest = newest.max(*sent);
    }
    let mut stamps: Vec<i64> = pairs.iter().map(|(_, arrived, _)| *arrived).collect();
    let mut sent: Vec<i64> = pairs.iter().map(|(sent, _, _)| *sent).collect();
    sent.sort_unstable();
    let len = stamps.len() + sent.len();
    stamps.dedup_by(|a, b| (*a - *b).abs() <= 1);
    sent.dedup_by(|a, b| (*a - *b).abs() <= 1);
    let equal = (len - stamps.len() - sent.len()) as u64;
    check(
        path.reordered.abs_diff(reordered) <= equal,
        format!("reordered {}, not {reordered} (+- {equal})", path.reordered),
    );
    compare_delays(draw, &truth, path, &mut check);
}

/// Compares quantiles: within the uncertainty that the path tells.
fn compare_delays(draw: &Draw, truth: &Truth, path: &PathReport, check: &mut impl FnMut(bool, String)) {
    let mut delays: Vec<i64> = truth.pairs().iter().map(|(_, _, delay)| *delay).collect();
    delays.sort_unstable();
    let (known, several) = (path.delays.count, truth.several());
    check(
        known as usize <= delays.len() && known as usize + several >= delays.len(),
        format!("{known} delays of {}", delays.len()),
    );
    // Stamps are rounded, and so are times in common.
    let resolution = if draw.is_coarse { 1_000 } else { 8 };
    let uncertainty = match path.delay_uncertainty_ns {
        Some(uncertainty) => uncertainty as i64,
        None if draw.has_right_clocks() => 0,
        // Nothing is said of how true they are.
        None => return,
    };
    // Right clocks are not proved wrong, so nothing is subtracted.
    let uncertainty = if draw.has_right_clocks() { 0 } else { uncertainty };
    for quantile in [0.0, 0.1, 0.5, 0.9, 0.99, 1.0] {
        let found = match quantile {
            0.0 => path.delays.min_ns,
            1.0 => path.delays.max_ns,
            _ => (!path.delays.is_empty()).then(|| path.delays.histogram.value_at_quantile(quantile)),
        };
        let Some(found) = found.map(|found| found as i64) else { continue };
        let rank = ((delays.len() as f64 * quantile).ceil() as usize).max(1) - 1;
        // Which of them are left out, is not compared.
        let at = |rank: usize| delays[rank.min(delays.len() - 1)];
        let slack = uncertainty + resolution + found / 900;
        let (least, most) = (at(rank.saturating_sub(several)) - slack, at(rank + several) + slack);
        check(
            (least..=most).contains(&found),
            format!(
                "quantile {quantile} is {found}, not {} +- {slack} (uncertainty {uncertainty})",
                at(rank)
            ),
        );
    }
}

/// Compares all that was found with what was drawn.
fn faults(draw: &Draw, report: &SightingsReport) -> Vec<String> {
    let mut faults = Vec::new();
    let names: BTreeMap<Symbol, usize> =
        draw.vantages.iter().enumerate().map(|(at, vantage)| (Symbol::of(&vantage.name), at)).collect();
    let last = draw.vantages.len() - 1;
    let is_two_way = draw.packets.iter().any(|packet| packet.is_back);
    let mut expected = Vec::new();
    for at in 0..last {
        expected.push((at, at + 1, false));
    }
    if last > 1 {
        expected.push((0, last, true));
    }
    if is_two_way {
        for (from, to, is_end) in expected.clone() {
            expected.push((to, from, is_end));
        }
    }
    let key = |path: &PathReport| (names[&path.from], names[&path.to], path.end_to_end);
    for path in report.paths.iter().filter(|path| !expected.contains(&key(path))) {
        faults.push(format!("a path that is none: {:?}, sent {}, lost {}", key(path), path.sent, path.lost));
    }
    for (from, to, is_end) in expected {
        match report.paths.iter().find(|path| key(path) == (from, to, is_end)) {
            Some(path) => compare(draw, from, to, path, &mut faults),
            None => faults.push(format!("no path {from} > {to} ({is_end})")),
        }
    }
    let others: u64 = draw.vantages.iter().map(|vantage| vantage.other_ns.len() as u64).sum();
    if report.unpaired != others {
        faults.push(format!("unpaired {}, not {others}", report.unpaired));
    }
    for (count, what) in [(report.late, "late"), (report.outliers, "outliers"), (report.refused, "refused")] {
        if count > 0 {
            faults.push(format!("{count} {what}"));
        }
    }
    faults
}

/// Says what was found, in few lines.
fn told(draw: &Draw, report: &SightingsReport) -> String {
    let names: BTreeMap<Symbol, &str> =
        draw.vantages.iter().map(|vantage| (Symbol::of(&vantage.name), &*vantage.name)).collect();
    let path = |path: &PathReport| {
        format!(
            "  {} > {}: sent {}, lost {} to {}, undetermined {}, outside {}, unseen {}, duplicated {}, uncertainty {:?}",
            names[&path.from],
            names[&path.to],
            path.sent,
            path.lost,
            path.lost_max,
            path.undetermined,
            path.outside,
            path.unseen,
            path.duplicated,
            path.delay_uncertainty_ns
        )
    };
    let paths = report.paths.iter().map(path);
    let findings = report.findings.iter().map(|finding| format!("  {}: {}", finding.code, finding.text));
    paths.chain(findings).collect::<Vec<_>>().join("\n")
}

fn number(variable: &str, without: u64) -> u64 {
    std::env::var(variable).map_or(without, |text| text.parse().unwrap())
}

#[test]
#[ignore = "13 of 400 draws are not found: one-way traffic past three and more vantage points with clocks that differ, and captures cut by one or two packets"]
fn what_was_drawn_is_found() {
    let (draws, first) = (number("DRAWS", 400), number("SEED", 1));
    println!("{draws} draws from seed {first} on");
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for seed in first..first + draws {
        let draw = Draw::new(seed);
        let report = found(&draw, dir.path());
        let faults = faults(&draw, &report);
        if !faults.is_empty() {
            let told = told(&draw, &report);
            wrong.push(format!("{}\n{told}\n  WRONG: {}", draw.describe(), faults.join("\n  WRONG: ")));
        }
    }
    let shown = number("SHOWN", 5) as usize;
    assert!(
        wrong.is_empty(),
        "{} of {draws} draws are not found:\n{}",
        wrong.len(),
        wrong.iter().take(shown).cloned().collect::<Vec<_>>().join("\n")
    );
}
