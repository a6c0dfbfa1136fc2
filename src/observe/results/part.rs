//! One test, step or assertion: where it is in its life, and what was said of it.

use super::evidence::{Evidence, PASSES_TOLD};
use super::runs::{Outlasts, Run, Runs};
use super::verdict::Outcome;
use crate::domain::{StateTable, StepOutcome};
use crate::event::{Context, Record, Symbol};
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What is known of a test, a step or an assertion.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Part {
    /// What became of it: the worst that is known of it.
    pub outcome: Outcome,
    /// When its first event was, in nanoseconds since the Unix epoch.
    pub started_ns: u64,
    /// When the event was that told of this outcome.
    pub ended_ns: Option<u64>,
    /// How long it took: what that event says, or else the time between the beginning of the run and that event.
    pub duration_ns: Option<u64>,
    /// How often it was run: it began again after it had ended, or without having ended.
    pub runs: u32,
    /// Why it failed, or was left out.
    pub message: Option<Box<str>>,
}

impl Part {
    /// Returns this one, or `other` where that one weighs more; with the other's message where both say the same and
    /// one does not say why.
    fn or_worse(self, other: &Part) -> Part {
        if other.outcome.weight() > self.outcome.weight() {
            return Part { started_ns: self.started_ns, runs: self.runs, ..other.clone() };
        }
        let also = other.message.as_ref().filter(|_| self.outcome == other.outcome);
        Part { message: self.message.or_else(|| also.cloned()), ..self }
    }

    /// Puts together an assertion and what a service of its name found: the worse of both.
    pub(super) fn and_found(self, found: &Part) -> Part {
        let (started_ns, runs) = (self.started_ns.min(found.started_ns), self.runs.max(found.runs));
        Part { started_ns, runs, ..self.or_worse(found) }
    }

    /// Returns this one, or what counts of the view whatever comes where that weighs more.
    pub(super) fn or_kept(self, view: &View) -> Part {
        view.stays.iter().fold(self, |part, stays| part.or_worse(stays))
    }

    /// Returns this one, which has not passed where one of its runs was still going on when its test ended.
    pub(super) fn or_outlasting(self, runs: &Runs, test: &Runs) -> Part {
        if self.outcome != Outcome::Passed {
            return self;
        }
        let (outcome, message) = match runs.outlasts(test) {
            Outlasts::No => return self,
            Outlasts::By(by_ns) => {
                let by = Duration::from_nanos(by_ns);
                (
                    Outcome::Incomplete,
                    format!("was still running when its test ended, and ended {by:?} later"),
                )
            }
            Outlasts::Unknown => (
                Outcome::Unknown,
                "had too many runs to tell whether one was running when its test ended".into(),
            ),
        };
        Part { outcome, message: Some(message.into()), ..self }
    }

    /// Returns this one, which has not passed where something of it is not known.
    pub(super) fn or_unknown(self, why: Option<String>) -> Part {
        match why {
            Some(why) if self.outcome == Outcome::Passed => {
                Part { outcome: Outcome::Unknown, message: Some(why.into()), ..self }
            }
            _ => self,
        }
    }

    /// Returns this one, a test's, which has not passed where it has more `steps` than were `run`.
    pub(super) fn or_missing_steps(self, steps: u64, run: u64) -> Part {
        let lacks = steps > run;
        self.or_unknown(lacks.then(|| format!("it has {steps} steps, and {run} are known to have been run")))
    }

    /// Puts together what a part says of itself and what its test says of it: the worse of both, but for one that has
    /// ended according to only one of them. An end that came before the other's run began, or began again, is not its end.
    pub(super) fn and_told(self, since_ns: u64, told: &Part, told_since_ns: u64) -> Part {
        let is_end_of =
            |part: &Part, since_ns: u64| part.ended_ns.is_none_or(|ended_ns| ended_ns >= since_ns);
        let (started_ns, runs) = (self.started_ns.min(told.started_ns), self.runs.max(told.runs));
        let open = |part: &Part| part.outcome == Outcome::Running;
        let part = match (open(&self), open(told)) {
            // The end may be that of another run.
            (true, false) if self.runs <= told.runs && is_end_of(told, since_ns) => told.clone(),
            (false, true) if told.runs <= self.runs && is_end_of(&self, told_since_ns) => self,
            _ => self.or_worse(told),
        };
        Part { started_ns, runs, ..part }
    }
}

/// A part as events show it: the run that is going on or was last, and what counts whatever comes.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    state: u8,
    /// When it came into its state, and by whose event.
    since_ns: u64,
    /// The latest time at which it came into a state.
    latest_ns: u64,
    since_source: (u64, u16),
    since_place: Option<Context>,
    started_ns: Option<u64>,
    run_started_ns: u64,
    /// The first end of a run, by its time.
    first_end_ns: Option<u64>,
    runs: u32,
    /// By beginning, of which tests have two: whether it was told.
    begun: [bool; 2],
    /// By beginning: how often it was told again while the part was going on, less the ends that were told again since.
    open: [u32; 2],
    /// By beginning: how often it was told.
    beginnings: [u32; 2],
    /// By the way in which it is told that the part has passed: how often it was. One run may be told of in several.
    passes: [u32; PASSES_TOLD],
    /// Of these, those of the run that is going on or was last.
    passes_of_run: [u32; PASSES_TOLD],
    /// How often it came to fail.
    failures: u32,
    now: Part,
    /// How many assertions the run that is going on or was last said at its beginning that it has, and looked at.
    has: Option<u64>,
    validated: Option<u64>,
    /// How many steps all runs said that they begin and that they completed, and how often steps were begun.
    steps: u64,
    steps_completed: u64,
    /// The steps that it names, and how often.
    step_names: HashMap<Symbol, u64>,
    executions: u32,
    /// The runs that passed, and those that ended in another way.
    passed: Runs,
    ended_otherwise: Runs,
    /// The worst of earlier runs, and of what was said where the table does not allow it.
    stays: Option<Part>,
    /// A failure that a retry has undone.
    undone: Option<Undone>,
}

#[derive(Clone, Debug)]
struct Undone {
    failed: Part,
    /// When the last retry began.
    retried_ns: u64,
}

impl View {
    pub(super) fn new(table: &StateTable) -> View {
        View { state: table.initial, ..View::default() }
    }

    /// Takes an event of the part's own.
    pub(super) fn take(&mut self, table: &StateTable, record: &Record, evidence: &Evidence) {
        let (code, payload, time_ns) = (record.kind().code(), record.payload_bytes(), record.time_ns());
        self.begin(time_ns);
        let mut step = table.step(self.state, code, payload);
        if evidence.begins {
            self.end_counts(time_ns);
        }
        self.executes(evidence, matches!(step, StepOutcome::Invalid { .. }));
        // What began earlier than the part came into its state was only told late.
        let again = evidence.begins && self.state != table.initial && time_ns >= self.since_ns;
        let invalid = matches!(step, StepOutcome::Invalid { .. });
        if evidence.begins {
            let is_one_more = step == StepOutcome::Unchanged || invalid && !again;
            self.begins(usize::from(code), is_one_more);
        } else if !invalid {
            let end = table.path(self.state, code, payload).last();
            let outcome = end.and_then(|state| table.name(*state)).map(Outcome::of_state);
            self.passes(evidence, outcome == Some(Outcome::Passed));
            if step == StepOutcome::Unchanged && self.now.outcome == Outcome::Passed {
                self.ends_again(end == Some(&self.state), time_ns);
            }
        }
        if again && invalid {
            self.state = table.initial;
            self.run_again(time_ns);
            step = table.step(self.state, code, payload);
        }
        if let StepOutcome::Moved(state) = step {
            self.state = state;
            let outcome = Outcome::of_state(table.name(state).unwrap_or_default());
            if self.now.outcome == Outcome::Failed && outcome != Outcome::Failed {
                self.retry(record, evidence);
            }
            self.set(outcome, record, evidence);
        }
        self.count(evidence, time_ns);
        let Some(outcome) = evidence.outcome else { return };
        let fails_again = outcome == Outcome::Failed && step == StepOutcome::Unchanged;
        if fails_again && self.is_told_by_another(record, evidence) {
            // Two clients may each have a step of that name.
            return self.stay(self.ended(outcome, time_ns, evidence));
        }
        if matches!(step, StepOutcome::Invalid { .. }) || self.now.outcome != outcome {
            self.stay(self.ended(outcome, time_ns, evidence));
        }
    }

    /// Takes in how many assertions a run has, or has looked at; fewer of these, and the others are not known.
    fn count(&mut self, evidence: &Evidence, time_ns: u64) {
        if evidence.begins || evidence.has.is_some() {
            self.has = evidence.has;
            // A beginning that is told late is of the run whose end is known.
            if self.now.outcome == Outcome::Running {
                self.validated = None;
            }
        } else if evidence.validated.is_some() {
            self.validated = evidence.validated;
        }
        let (Some(has), Some(validated)) = (self.has, self.validated) else { return };
        if validated < has {
            let mut short = Evidence::default();
            short.says(Outcome::Unknown, || format!("{validated} of {has} assertions were looked at"));
            self.stay(self.ended(Outcome::Unknown, time_ns, &short));
        }
    }

    /// Says how many assertions of the run that is going on or was last are told to have passed, where these are not all.
    fn lacks_passes(&self) -> Option<String> {
        let has = self.has.filter(|has| *has > 1 && self.validated.is_none())?;
        let told = self.passes_of_run.iter().max().copied().unwrap_or(0);
        (u64::from(told) < has).then(|| format!("{told} of {has} assertions are told to have passed"))
    }

    /// Another run begins: what the last one lacked it lacks for good.
    fn end_counts(&mut self, time_ns: u64) {
        if let Some(lacks) = self.lacks_passes() {
            let mut short = Evidence::default();
            short.says(Outcome::Unknown, || lacks);
            self.stay(self.ended(Outcome::Unknown, time_ns, &short));
        }
        self.passes_of_run = [0; PASSES_TOLD];
    }

    /// Takes in that a test begins to run steps, or has run them. If it began before, it is run again, whether it says so or not.
    /// What the table does not allow adds no steps.
    fn executes(&mut self, evidence: &Evidence, invalid: bool) {
        if !invalid {
            self.steps = self.steps.saturating_add(evidence.steps.unwrap_or(0));
            self.steps_completed = self.steps_completed.saturating_add(evidence.steps_completed.unwrap_or(0));
        }
        if evidence.executes {
            self.executions = self.executions.saturating_add(1);
        }
        for name in &evidence.step_names {
            *self.step_names.entry(*name).or_default() += 1;
        }
    }

    /// Returns how many runs of steps a test says that it has.
    pub(super) fn steps(&self) -> u64 {
        self.steps.max(self.steps_completed)
    }

    /// Returns how many of a step's runs are such: where the test names its steps, one that is run more often stands for no other.
    pub(super) fn counted_runs(&self, step: Symbol, runs: u64) -> u64 {
        let named = self.step_names.get(&step);
        if self.step_names.is_empty() { runs } else { runs.min(named.copied().unwrap_or(1)) }
    }

    /// Takes what somebody else says of the part. What is `retried` may fail, begin again and pass.
    pub(super) fn told(&mut self, outcome: Outcome, record: &Record, evidence: &Evidence, retried: bool) {
        let time_ns = record.time_ns();
        let begun = self.started_ns.is_some();
        self.begin(time_ns);
        if outcome == Outcome::Running {
            let again = self.now.outcome == Outcome::Running || time_ns < self.since_ns;
            self.begins(0, again);
        }
        self.passes(evidence, outcome == Outcome::Passed);
        match (outcome, self.now.outcome) {
            (Outcome::Running, _) if !begun => {}
            (Outcome::Running, Outcome::Running) => return,
            (Outcome::Running, _) if time_ns < self.since_ns => return,
            (Outcome::Running, Outcome::Failed) if retried => self.retry(record, evidence),
            (Outcome::Running, _) => self.run_again(time_ns),
            (Outcome::Failed, Outcome::Running) if begun => {}
            (Outcome::Failed, Outcome::Failed) if !self.is_told_by_another(record, evidence) => return,
            (Outcome::Failed, _) => return self.stay(self.ended(outcome, time_ns, evidence)),
            (_, Outcome::Failed) => return,
            (Outcome::Passed, Outcome::Passed) => self.ends_again(true, time_ns),
            // What nobody knows stays unknown, whatever else is known.
            (Outcome::Passed, Outcome::Unknown) => return,
            _ => {}
        }
        self.set(outcome, record, evidence);
    }

    /// Returns what is known of the part. A failure that was retried counts all the same until the retry has passed, and
    /// where it was before `retries`, the retry began behind it, or that time is not known.
    pub(super) fn part(&self, retries: Option<RangeInclusive<u64>>) -> Part {
        let mut part = Part { started_ns: self.started_ns.unwrap_or(0), runs: self.runs, ..self.now.clone() };
        if part.outcome == Outcome::Passed && (self.open != [0; 2] || self.begins_more_often_than_it_ends()) {
            part.outcome = Outcome::Incomplete;
        }
        part = part.or_unknown(self.lacks_passes());
        if let Some(undone) = &self.undone {
            let failed_ns = undone.failed.ended_ns.unwrap_or(0);
            let in_time = retries
                .is_some_and(|time_ns| time_ns.contains(&undone.retried_ns) && time_ns.contains(&failed_ns));
            if !in_time || self.now.outcome != Outcome::Passed {
                part = part.or_worse(&undone.failed);
            }
        }
        part.or_kept(self)
    }

    /// Returns when a step of this test may fail and be retried: from its beginning up to its end, if it was run once.
    pub(super) fn retries(&self) -> Option<RangeInclusive<u64>> {
        let (from, until) = (self.started_ns.unwrap_or(0), self.first_end_ns.unwrap_or(u64::MAX));
        (self.runs <= 1 && self.executions <= 1).then_some(from..=until)
    }

    /// Takes in another instance's view of the same part. Events of one entity come to one instance, so it is not known
    /// in which order these were: the worse counts.
    pub(super) fn merge(&mut self, other: View) {
        let worse = other.part(None);
        self.started_ns = self.started_ns.into_iter().chain(other.started_ns).min();
        self.first_end_ns = self.first_end_ns.into_iter().chain(other.first_end_ns).min();
        self.runs += other.runs;
        self.executions = self.executions.saturating_add(other.executions);
        for (name, times) in other.step_names {
            *self.step_names.entry(name).or_default() += times;
        }
        self.steps = self.steps.saturating_add(other.steps);
        self.steps_completed = self.steps_completed.saturating_add(other.steps_completed);
        self.passed.merge(other.passed);
        self.ended_otherwise.merge(other.ended_otherwise);
        self.stay(worse);
    }

    /// Returns when the last runs were that ended, in whatever way.
    pub(super) fn all_ended(&self) -> impl Iterator<Item = &Run> {
        self.passed.kept().chain(self.ended_otherwise.kept())
    }

    /// Returns when the runs were that passed.
    pub(super) fn passed(&self) -> &Runs {
        &self.passed
    }

    /// Returns since when the part is as it is.
    pub(super) fn since_ns(&self) -> u64 {
        self.since_ns
    }

    /// Takes in that a run begins. Told again while it is going on, or late, it is another one, which has an end of its own.
    fn begins(&mut self, beginning: usize, again: bool) {
        let at = beginning.min(1);
        if let (Some(begun), Some(open)) = (self.begun.get_mut(at), self.open.get_mut(at)) {
            if *begun && again {
                *open = open.saturating_add(1);
                self.runs = self.runs.saturating_add(1);
            }
            *begun = true;
        }
        if let Some(beginnings) = self.beginnings.get_mut(at) {
            *beginnings = beginnings.saturating_add(1);
        }
    }

    /// Takes in that the part is told to have passed, if it `is` so.
    fn passes(&mut self, evidence: &Evidence, is: bool) {
        for passes in [&mut self.passes, &mut self.passes_of_run] {
            if let Some(passes) = passes.get_mut(evidence.told_as).filter(|_| is) {
                *passes = passes.saturating_add(1);
            }
        }
    }

    /// Of what is told in one way, each is the end of another run; what is told in another way may be of the same runs.
    fn begins_more_often_than_it_ends(&self) -> bool {
        let beginnings = self.beginnings.iter().max().copied().unwrap_or(0);
        let passes = self.passes.iter().max().copied().unwrap_or(0);
        beginnings > passes.saturating_add(self.failures)
    }

    /// Takes in that what has passed is told to have passed again, if it `is` so.
    fn ends_again(&mut self, is: bool, time_ns: u64) {
        if is && self.open != [0; 2] {
            self.passed.push(self.run_started_ns, time_ns);
            self.open = self.open.map(|open| open.saturating_sub(1));
        }
    }

    fn begin(&mut self, time_ns: u64) {
        if self.started_ns.is_none() {
            (self.runs, self.run_started_ns) = (1, time_ns);
        }
        self.started_ns = Some(self.started_ns.map_or(time_ns, |known| known.min(time_ns)));
        self.run_started_ns =
            if self.runs == 1 { self.run_started_ns.min(time_ns) } else { self.run_started_ns };
    }

    /// Begins another run. One that has not ended never will.
    fn run_again(&mut self, time_ns: u64) {
        let mut last = std::mem::take(&mut self.now);
        if last.outcome == Outcome::Running {
            last.outcome = Outcome::Incomplete;
        }
        self.stay(last);
        self.runs = self.runs.saturating_add(1);
        self.run_started_ns = time_ns;
    }

    /// Undoes a failure, unless its time says that it came later. Who tells of both must be one, and of one place: two clients may
    /// each have a step of that name.
    fn retry(&mut self, record: &Record, evidence: &Evidence) {
        let failed = std::mem::take(&mut self.now);
        let time_ns = record.time_ns();
        let is_another = self.is_told_by_another(record, evidence);
        // Lines of PANTHER's come by one source from any number of files.
        let is_tie = time_ns == self.since_ns && record.is_panthers();
        if is_another || is_tie || time_ns < self.since_ns {
            return self.stay(failed);
        }
        let (failed, retried_ns) = match self.undone.take() {
            Some(before) => (before.failed, before.retried_ns.max(time_ns)),
            None => (failed, time_ns),
        };
        self.undone = Some(Undone { failed, retried_ns });
    }

    /// Whether this is told by another emitter than what led into the state, or of another place.
    fn is_told_by_another(&self, record: &Record, evidence: &Evidence) -> bool {
        (evidence.numbering, record.source()) != self.since_source || evidence.place != self.since_place
    }

    fn stay(&mut self, part: Part) {
        if part.outcome != Outcome::Passed {
            self.stays = Some(match self.stays.take() {
                Some(known) => known.or_worse(&part),
                None => part,
            });
        }
    }

    fn set(&mut self, outcome: Outcome, record: &Record, evidence: &Evidence) {
        let time_ns = record.time_ns();
        if outcome == Outcome::Passed && time_ns < self.latest_ns {
            let early = Duration::from_nanos(self.latest_ns - time_ns);
            let mut open = Evidence::default();
            open.says(Outcome::Incomplete, || {
                format!("passed {early:?} before what came before that, so a later run may not have ended")
            });
            self.stay(self.ended(Outcome::Incomplete, time_ns, &open));
        }
        self.latest_ns = self.latest_ns.max(time_ns);
        (self.since_ns, self.since_source) = (time_ns, (evidence.numbering, record.source()));
        self.since_place = evidence.place;
        match outcome {
            Outcome::Running => {}
            Outcome::Passed if self.now.outcome == Outcome::Passed => {}
            Outcome::Passed => self.passed.push(self.run_started_ns, time_ns),
            _ => self.ended_otherwise.push(self.run_started_ns, time_ns),
        }
        self.now = Part::default();
        self.failures = self.failures.saturating_add(u32::from(outcome == Outcome::Failed));
        if outcome != Outcome::Running {
            self.now = self.ended(outcome, time_ns, evidence);
            self.first_end_ns = Some(self.first_end_ns.map_or(time_ns, |known| known.min(time_ns)));
        }
    }

    fn ended(&self, outcome: Outcome, time_ns: u64, evidence: &Evidence) -> Part {
        let message = evidence.message.clone().filter(|_| outcome != Outcome::Passed);
        Part {
            outcome,
            ended_ns: Some(time_ns),
            duration_ns: evidence.duration_ns.or(Some(time_ns.saturating_sub(self.run_started_ns))),
            message,
            ..Part::default()
        }
    }
}
