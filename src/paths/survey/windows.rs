//! From when to when each vantage point looked.

use super::delays::DelaysSeen;
use super::options::SurveyOptions;
use super::routes::PairSeen;
use super::vantage::VantageSurvey;
use crate::paths::route::Route;
use std::collections::BTreeMap;

/// Stamps have to differ by more than this to prove that a capture had ended.
const MARGIN_NS: u64 = 1_000_000;

/// From when to when a vantage point looked, by the common time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::paths) struct Window {
    pub(in crate::paths) begin_ns: u64,
    pub(in crate::paths) end_ns: u64,
    pub(in crate::paths) begin: Edge,
    pub(in crate::paths) end: Edge,
}

/// How it is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::paths) enum Edge {
    /// The capture says so, or its user.
    Told,
    /// Others saw packets of its side that it did not see.
    Evident,
    /// It is that of its first or last packet: it may have looked for longer.
    Open,
}

/// What vantage points prove of the captures of others.
pub(super) struct Evidence<'a> {
    windows: &'a mut [Window],
}

impl Evidence<'_> {
    /// Takes in where and when packets of a directed pair were seen: what passed a vantage point before it had seen anything, or behind
    /// all that it saw, shows that it did not look then.
    pub(super) fn take(&mut self, route: &Route, seen: &PairSeen, delays: &BTreeMap<(u8, u8), DelaysSeen>) {
        for (before, behind) in
            route.vantages().flat_map(|before| route.vantages().map(move |behind| (before, behind)))
        {
            let Some((_, first_ns, last_ns)) = seen.at.get(&behind) else { continue };
            // Who never saw these may leave them out.
            if !seen.at.contains_key(&before) || !route.is_before(before, behind) {
                continue;
            }
            let delays = delays.get(&(before, behind));
            let least_ns = delays.map_or(0, |delays| delays.least_ns);
            let longest_ns = delays.map_or(0, |delays| delays.longest_ns);
            let Some(window) = self.windows.get_mut(usize::from(before)) else { continue };
            let (earliest_ns, latest_ns) =
                (first_ns.saturating_add_signed(-least_ns), last_ns.saturating_add_signed(-longest_ns));
            if window.begin == Edge::Open && earliest_ns.saturating_add(MARGIN_NS) < window.begin_ns {
                window.begin = Edge::Evident;
            }
            if window.end == Edge::Open && latest_ns > window.end_ns.saturating_add(MARGIN_NS) {
                window.end = Edge::Evident;
            }
        }
    }
}

/// Finds the windows; `gather` gives all evidence.
pub(super) fn find(
    vantages: &[VantageSurvey],
    options: &SurveyOptions,
    to_common: impl Fn(usize, u64) -> u64,
    gather: impl FnOnce(&mut Evidence<'_>),
) -> Vec<Window> {
    let window = |(at, vantage): (usize, &VantageSurvey)| {
        let (first_ns, last_ns) = vantage.time_ns().unwrap_or((u64::MAX, 0));
        let until = options.captured_until_ns.iter().find(|(name, _)| *name == vantage.name);
        let until_ns = until.map(|(_, until_ns)| *until_ns).or(vantage.captured_ns.1);
        // A capture does not end before its last packet, whatever it says.
        let told_end_ns = until_ns.filter(|until_ns| *until_ns >= last_ns);
        let told_begin_ns = vantage.captured_ns.0.filter(|from_ns| *from_ns <= first_ns);
        let edge = |told: Option<u64>| if told.is_some() { Edge::Told } else { Edge::Open };
        Window {
            begin_ns: to_common(at, told_begin_ns.unwrap_or(first_ns)),
            end_ns: to_common(at, told_end_ns.unwrap_or(last_ns)),
            begin: edge(told_begin_ns),
            end: edge(told_end_ns),
        }
    };
    let mut windows: Vec<Window> = vantages.iter().enumerate().map(window).collect();
    gather(&mut Evidence { windows: &mut windows });
    windows
}
