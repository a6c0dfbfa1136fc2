//! Where a packet is looked for, and what it means that it is not seen.

use super::ends::Ends;
use super::flows::Flow;
use super::group::{Group, Sighting};
use super::path::Absence;
use super::report::{PathReport, SightingsReport};
use super::route::Routes;
use super::survey::{Edge, REPEAT_NS, Survey, marks};
use std::sync::Arc;

/// What is known from before; without a survey, all vantage points look all the time, and nothing is known.
pub(super) struct LossScope {
    survey: Option<Arc<Survey>>,
}

impl LossScope {
    pub(super) fn new(survey: Option<Arc<Survey>>) -> LossScope {
        LossScope { survey }
    }

    /// Returns the time of a sighting by the common clock; `near_ns` is that of the sighting before at the same vantage point.
    pub(super) fn to_common(&self, vantage: usize, time_ns: u64, near_ns: u64) -> u64 {
        self.survey.as_ref().map_or(time_ns, |survey| survey.to_common(vantage, time_ns, near_ns))
    }

    /// Says what is known of a flow of that name.
    pub(super) fn begin(&self, name: Option<&str>, routes: &mut Routes) -> Flow {
        let known = || {
            let ends = Ends::of_flow(name?)?;
            self.survey.as_ref()?.pair(ends)
        };
        match known() {
            None => Flow::default(),
            Some(facts) => Flow {
                seen: 0,
                scope: facts.scope,
                route: facts.route.clone().and_then(|route| routes.number(route)),
                is_surveyed: true,
            },
        }
    }

    /// Tells whether a sighting is of the sending that was seen there before: by other marks, or where each is seen several times.
    pub(super) fn is_repeat(&self, group: &mut Group, sighting: &Sighting) -> bool {
        let Some(last) = group.last_at(sighting.vantage) else { return false };
        let apart_ns = sighting.time_ns.abs_diff(last.time_ns);
        if marks(last.marks) != marks(sighting.marks) && apart_ns <= REPEAT_NS {
            return true;
        }
        let Some(survey) = &self.survey else { return false };
        let repeats = survey.repeats(sighting.vantage);
        repeats.more > 0 && apart_ns <= repeats.within_ns && group.repeats(sighting.vantage, repeats.more)
    }

    /// Says what it means that a packet was not seen where it was to arrive.
    pub(super) fn absence(&self, from: u8, to: u8, sent_ns: u64) -> Absence {
        let Some((survey, window)) = self.window(to) else { return Absence::Lost };
        let least_ns = survey.delays(from, to).map_or(0, |delays| delays.least_ns);
        if sent_ns.saturating_add_signed(least_ns) < window.begin_ns {
            return if window.begin == Edge::Open { Absence::PerhapsBefore } else { Absence::Outside };
        }
        if sent_ns.saturating_add(survey.wait_ns(from, to)) <= window.end_ns {
            return Absence::Lost;
        }
        match window.end {
            _ if sent_ns <= window.end_ns => Absence::Undetermined,
            Edge::Open => Absence::PerhapsAfter,
            Edge::Told | Edge::Evident => Absence::Outside,
        }
    }

    /// Tells whether a vantage point looked at that time.
    pub(super) fn looks_at(&self, vantage: u8, time_ns: u64) -> bool {
        self.window(vantage).is_none_or(|(_, window)| (window.begin_ns..=window.end_ns).contains(&time_ns))
    }

    /// Tells whether `from` looked when a packet was sent that arrived at that time.
    pub(super) fn saw_sending(&self, from: u8, to: u8, arrived_ns: u64) -> bool {
        let Some((survey, window)) = self.window(from) else { return true };
        let (least_ns, longest_ns) =
            survey.delays(from, to).map_or((0, 0), |delays| (delays.least_ns, delays.longest_ns));
        let earliest_ns = arrived_ns.saturating_add_signed(longest_ns.saturating_neg());
        let latest_ns = arrived_ns.saturating_add_signed(least_ns.saturating_neg());
        window.begin_ns <= latest_ns && earliest_ns <= window.end_ns
    }

    /// Returns up to which delay one is likely, and by how much it may seem to be below zero, where that is known.
    pub(super) fn likely_ns(&self, from: u8, to: u8) -> Option<(u64, u64)> {
        const ROUNDING_NS: u64 = 1_000;
        let delays = self.survey.as_ref()?.delays(from, to)?;
        Some((delays.likely_ns(), delays.least_ns.min(0).unsigned_abs() + ROUNDING_NS))
    }

    /// Returns how many packets the capture of a vantage point dropped.
    pub(super) fn dropped(&self, vantage: u8) -> u64 {
        self.survey.as_ref().and_then(|survey| survey.dropped(vantage)).unwrap_or(0)
    }

    /// Adds what is known of a path's clocks.
    pub(super) fn describe(&self, from: u8, to: u8, report: PathReport) -> PathReport {
        let Some(survey) = &self.survey else { return report };
        PathReport {
            delay_uncertainty_ns: survey.uncertainty_ns(from, to),
            delays_above_minimum: survey.is_above_minimum(from, to),
            ..report
        }
    }

    /// Returns a report of what was known before.
    pub(super) fn report(&self) -> SightingsReport {
        let Some(survey) = &self.survey else { return SightingsReport::default() };
        SightingsReport {
            unpaired_pairs: survey.unpaired_pairs().to_vec(),
            surveyed: true,
            findings: survey.findings().to_vec(),
            ..SightingsReport::default()
        }
    }

    pub(super) fn survey(&self) -> Option<&Survey> {
        self.survey.as_deref()
    }

    fn window(&self, vantage: u8) -> Option<(&Survey, &super::survey::Window)> {
        let survey = self.survey.as_deref()?;
        Some((survey, survey.window(vantage)?))
    }
}
