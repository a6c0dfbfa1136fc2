//! What an event says of a test, a step, an assertion or an experiment, beside where it leads.
//!
//! Read from kinds and from the fields that they name. Members whose form is the user's (`result`, `summary`, …) are not
//! read: nobody knows what they mean.

use super::fact::{ALL_WAYS, More, Stage, Ways};
use super::verdict::Outcome;
use crate::domain::{KindDef, assertion, experiment, service, step, test};
use crate::event::json::{Members, beginning};
use crate::event::payload::FieldValue;
use crate::event::{Detail, Domain, Record};

/// Stands for a count that cannot be read. Two of these may be two numbers.
pub(super) const NO_COUNT: u64 = u64::MAX;

/// How a count is shown.
pub(super) fn shown(count: u64) -> String {
    if count == NO_COUNT { "an unknown number".to_owned() } else { count.to_string() }
}

/// Bytes of a message that are kept.
const MESSAGE_LEN_MAX: usize = 1024;

/// What an event says.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// That its entity ended in another way than by passing, or something else that is no pass.
    pub(super) outcome: Option<Outcome>,
    /// That a run of its entity begins, and in which of the ways it is told: tests have two.
    pub(super) begins: Option<u8>,
    /// That a run of its entity ends, told in these ways. Of tests and experiments: if their table says that they do.
    pub(super) ends: Ways,
    /// What became of an assertion without a name, which a test has checked.
    pub(super) check: Option<Outcome>,
    /// That a test begins to check assertions, or has come to the end of it.
    pub(super) checking: Option<Stage>,
    /// What became of a step, which a test names.
    pub(super) step: Option<Outcome>,
    /// That a test prepares to run its steps, begins that, or has come to the end of it.
    pub(super) executing: Option<Stage>,
    /// What a service found that tests others.
    pub(super) found: Option<Outcome>,
    pub(super) duration_ns: Option<u64>,
    pub(super) more: More,
}

/// Returns where the event's document is.
pub(super) fn detail(record: &Record) -> Detail {
    let field = kind(record).and_then(|kind| kind.fields.iter().find(|field| field.name == "detail"));
    match field.and_then(|field| field.read(record.payload_bytes())) {
        Some(FieldValue::Detail(detail)) => detail,
        _ => Detail::NONE,
    }
}

impl Evidence {
    pub(super) fn of(record: &Record, document: Members<'_>) -> Evidence {
        use Outcome::{Failed, Passed, Running, Skipped, Unknown, Unsupported};
        let Some(kind) = kind(record) else { return Evidence::default() };
        let fields = Fields { kind, record, document };
        let mut evidence = Evidence {
            duration_ns: fields.placed("duration_ns").or_else(|| fields.placed("total_duration_ns")),
            ..Evidence::default()
        };
        if record.kind().domain() == Domain::EXPERIMENT {
            let counts = fields.count_of("test_count").max(fields.count_of("total_count"));
            evidence.more.tests = counts.max(document.listed("test_names"));
        }
        // One end may be told in several ways.
        let told_as: Ways = match (&*kind.name, fields.variant()) {
            ("validation_completed", _) | (_, Some("result" | "tester_analysis_completed")) => 0b010,
            (_, Some("enhanced_result")) => 0b100,
            _ => 0b001,
        };
        if matches!(record.kind().domain(), Domain::TEST | Domain::EXPERIMENT) {
            evidence.ends = told_as;
        }
        if record.kind().domain() == Domain::TEST {
            let stage_of = |[begins, ends, fails]: [&str; 3]| match &*kind.name {
                name if name == begins => Some(Stage::Begins),
                name if name == ends || name == fails => Some(Stage::Ends),
                _ => None,
            };
            evidence.checking = stage_of(["assertions_started", "assertions_completed", "assertions_failed"]);
            evidence.executing = match &*kind.name {
                "environment_setup_started" | "deployment_started" => Some(Stage::Prepares),
                _ => stage_of(["execution_started", "execution_completed", "execution_failed"]),
            };
        }
        match (record.kind().domain(), &*kind.name) {
            (Domain::TEST, "created") | (Domain::EXPERIMENT, "initialized") => evidence.begins = Some(0),
            (Domain::TEST, "setup_started") => evidence.begins = Some(1),
            (Domain::TEST, "step_started") => evidence.step = Some(Running),
            (Domain::TEST, "step_completed") => evidence.step = Some(Passed),
            (Domain::TEST, "step_failed") => evidence.step = Some(Failed),
            (Domain::TEST, "assertion_checked") => {
                evidence.check = Some(match fields.flag("passed") {
                    Some(true) => Passed,
                    Some(false) => Failed,
                    None => Unknown,
                });
            }
            (Domain::TEST, "execution_started") => evidence.more.steps = document.listed("steps"),
            (Domain::TEST, "assertions_started") => evidence.more.has = document.listed("assertions"),
            (Domain::TEST, "assertions_completed") => {
                evidence.more.validated = Some(fields.looked_at(["total_assertions", "passed_assertions"]));
                let counts = ["total_assertions", "passed_assertions", "failed_assertions"];
                evidence.count(&fields, "assertions", counts);
                evidence.all_passed(&fields, "all_passed");
            }
            (Domain::TEST, "execution_completed") => {
                evidence.more.steps_completed = fields.count_of("steps_completed");
                evidence.all_passed(&fields, "assertions_passed");
            }
            (Domain::STEP, "execution_started") => evidence.begins = Some(0),
            (Domain::STEP, "execution_completed") => evidence.ends = told_as,
            (Domain::STEP, "unsupported") => evidence.outcome = Some(Unsupported),
            (Domain::STEP, "skipped") => evidence.outcome = Some(Skipped),
            (Domain::ASSERTION, "validation_started") => {
                evidence.begins = Some(0);
                evidence.more.has = fields.count_of("total_assertions");
            }
            (Domain::ASSERTION, "validation_completed") => {
                evidence.more.validated = Some(fields.looked_at(["total_count", "passed_count"]));
                evidence.count(&fields, "assertions", ["total_count", "passed_count", "failed_count"]);
                // Of what does not say how many failed, nobody knows.
                evidence.ends = if fields.placed("failed_count") == Some(0) { told_as } else { 0 };
            }
            (Domain::ASSERTION, "result") => match fields.flag("assertion_passed") {
                Some(true) => evidence.ends = told_as,
                Some(false) => evidence.outcome = Some(Failed),
                None => evidence.is_no_flag("assertion_passed"),
            },
            (Domain::ASSERTION, "error") => evidence.outcome = Some(Failed),
            (Domain::ASSERTION, "unknown") => evidence.outcome = Some(Unknown),
            (Domain::EXPERIMENT, "finished_early") => evidence.outcome = Some(Outcome::Incomplete),
            (Domain::EXPERIMENT, "execution_completed") => {
                evidence.count(&fields, "tests", ["total_count", "success_count", "failure_count"]);
            }
            (Domain::SERVICE, _) => {
                // One of the members stands in the payload too. What one of them says undoes nothing that another says.
                let placed = fields.flag("passed");
                let said = ["passed", "overall_success"].map(|name| document.raw(name).unwrap_or("null"));
                let checks = document.raw("failed_checks").filter(|checks| !is_empty(checks));
                evidence.found = match fields.variant() {
                    _ if placed == Some(false) || said.contains(&"false") || checks.is_some() => Some(Failed),
                    _ if said.iter().any(|text| !["true", "null"].contains(text)) => Some(Unknown),
                    _ if placed == Some(true) || said.contains(&"true") => Some(Passed),
                    Some("tester_analysis_started") => Some(Running),
                    // It tells results, and not which.
                    _ => Some(Unknown),
                };
                evidence.ends = told_as;
                if evidence.found == Some(Failed) {
                    evidence.more.message = checks.map(|checks| short(&format!("failed checks: {checks}")));
                }
            }
            // A service that fails is no failed test: only the test can know.
            (Domain::TEST | Domain::STEP | Domain::EXPERIMENT, name) if name.ends_with("failed") => {
                evidence.outcome = Some(Failed);
            }
            _ => {}
        }
        let tells = evidence.outcome.is_some() || evidence.step == Some(Failed) || evidence.found.is_some();
        if tells && evidence.more.message.is_none() {
            evidence.more.message = message(document);
        }
        // An assertion that came to such an end has ended, in whatever way that is told.
        match record.kind().domain() {
            Domain::STEP if evidence.outcome.is_some() => evidence.ends = told_as,
            Domain::ASSERTION if evidence.outcome.is_some() => evidence.ends = ALL_WAYS,
            _ => {}
        }
        evidence
    }

    /// What a test says of one of its steps, in the second of the ways in which steps begin and end: the first is their own.
    pub(super) fn of_step(self, outcome: Outcome) -> Evidence {
        Evidence {
            more: More { message: self.more.message, ..More::default() },
            duration_ns: self.duration_ns,
            ..Evidence::of_other(outcome, 1, 0b010)
        }
    }

    /// What a service found, as of an assertion.
    pub(super) fn of_assertion(self, outcome: Outcome) -> Evidence {
        let ends = if outcome == Outcome::Passed { self.ends } else { ALL_WAYS };
        Evidence { more: self.more, duration_ns: self.duration_ns, ..Evidence::of_other(outcome, 0, ends) }
    }

    fn of_other(outcome: Outcome, way: u8, ends: Ways) -> Evidence {
        let (begins, ends) = if outcome == Outcome::Running { (Some(way), 0) } else { (None, ends) };
        let outcome = Some(outcome).filter(|outcome| !matches!(outcome, Outcome::Running | Outcome::Passed));
        Evidence { begins, ends, outcome, ..Evidence::default() }
    }

    /// The worst that it says.
    pub(super) fn worst(&self) -> Outcome {
        let says = [self.outcome, self.check, self.step, self.found].into_iter().flatten();
        // That something goes on is no result.
        let results = says.filter(|outcome| *outcome != Outcome::Running);
        results.max_by_key(|outcome| outcome.weight()).unwrap_or(Outcome::Passed)
    }

    /// What it says that is no pass, and nothing of what begins or ends: another has told of that.
    pub(super) fn contrary(self) -> Evidence {
        let message = self.more.message.or_else(|| Some("so says another teller of its key".into()));
        let More { payload, .. } = self.more;
        Evidence {
            begins: None,
            ends: 0,
            checking: None,
            executing: None,
            more: More { message, payload, ..More::default() },
            ..self
        }
    }

    /// That a test begins to check assertions, or has come to the end of it, as of a part of its own.
    pub(super) fn of_checks(&self, checking: Stage) -> Evidence {
        let (begins, ends) = match checking {
            Stage::Begins => (Some(0), 0),
            Stage::Ends => (None, ALL_WAYS),
            Stage::Prepares => (None, 0),
        };
        let More { has, validated, .. } = self.more;
        Evidence { begins, ends, more: More { has, validated, ..More::default() }, ..Evidence::default() }
    }

    /// Takes in how many of several passed: the names of the fields with how many there are, passed and failed.
    fn count(&mut self, fields: &Fields<'_>, what: &str, names: [&str; 3]) {
        match names.map(|name| fields.count_of(name)) {
            [.., Some(NO_COUNT)] => {
                self.says(Outcome::Unknown, || format!("an unknown number of {what} failed"));
            }
            [None, Some(NO_COUNT), _] => {
                self.says(Outcome::Unknown, || format!("an unknown number of {what} passed"));
            }
            [Some(NO_COUNT) | None, _, Some(failed)] if failed > 0 => {
                self.says(Outcome::Failed, || format!("{failed} {what} failed"));
            }
            [Some(total), _, Some(failed)] if failed > 0 => {
                self.says(Outcome::Failed, || format!("{failed} of {total} {what} failed"));
            }
            // What became of the others is not told.
            [Some(total), passed, _] if passed.unwrap_or(0) != total || total == NO_COUNT => {
                let (passed, total) = (shown(passed.unwrap_or(NO_COUNT)), shown(total));
                self.says(Outcome::Unknown, || format!("{passed} of {total} {what} passed"));
            }
            _ => {}
        }
    }

    /// Takes in a flag that says whether all assertions passed.
    fn all_passed(&mut self, fields: &Fields<'_>, name: &str) {
        match fields.flag(name) {
            Some(true) => {}
            Some(false) => self.says(Outcome::Failed, || "not all assertions passed".into()),
            None if fields.document.raw(name).is_none_or(|text| text == "null") => {}
            None => self.is_no_flag(name),
        }
    }

    fn is_no_flag(&mut self, name: &str) {
        self.says(Outcome::Unknown, || format!("{name} is neither true nor false"));
    }

    pub(super) fn says(&mut self, outcome: Outcome, message: impl FnOnce() -> String) {
        if self.outcome != Some(Outcome::Failed) {
            self.outcome = Some(outcome);
            self.more.message = Some(short(&message()));
        }
    }
}

fn kind(record: &Record) -> Option<&'static KindDef> {
    let kinds = match record.kind().domain() {
        Domain::TEST => test::KINDS,
        Domain::STEP => step::KINDS,
        Domain::ASSERTION => assertion::KINDS,
        Domain::EXPERIMENT => experiment::KINDS,
        Domain::SERVICE => service::KINDS,
        _ => return None,
    };
    kinds.get(usize::from(record.kind().code()))
}

/// The places of an event's payload, and the members of its document for what they could not hold.
struct Fields<'a> {
    kind: &'static KindDef,
    record: &'a Record,
    document: Members<'a>,
}

impl Fields<'_> {
    fn read(&self, name: &str) -> Option<FieldValue<'static>> {
        let kind: &'static KindDef = self.kind;
        kind.fields.iter().find(|field| *field.name == *name)?.read(self.record.payload_bytes())
    }

    /// A number in its place in the payload.
    fn placed(&self, name: &str) -> Option<u64> {
        match self.read(name) {
            Some(FieldValue::Unsigned(number)) => Some(number),
            _ => None,
        }
    }

    /// A count too large for its place stands in the document; one too large for that, or that is no number, is the
    /// largest, so that it is not taken for none.
    fn count_of(&self, name: &str) -> Option<u64> {
        self.placed(name).or_else(|| match self.document.raw(name)? {
            "null" => None,
            text => Some(text.parse().unwrap_or(NO_COUNT)),
        })
    }

    /// How many were looked at: as many as there were, or passed; none where neither is told.
    fn looked_at(&self, names: [&str; 2]) -> u64 {
        names.iter().find_map(|name| self.count_of(name)).unwrap_or(0)
    }

    fn flag(&self, name: &str) -> Option<bool> {
        match self.read(name) {
            Some(FieldValue::Bool(flag)) => Some(flag),
            _ => match self.document.raw(name)? {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            },
        }
    }

    fn variant(&self) -> Option<&'static str> {
        match self.read("variant") {
            Some(FieldValue::Name(name)) => Some(name),
            _ => None,
        }
    }
}

/// The first of the members in which events say why.
fn message(document: Members<'_>) -> Option<Box<str>> {
    const MEMBERS: [&str; 4] = ["error_message", "assertion_message", "reason", "skip_reason"];
    let text = MEMBERS.iter().find_map(|member| document.text(member))?;
    Some(short(&text)).filter(|text| !text.is_empty())
}

/// Whether a list or a number of things, as it is written, says that there are none.
fn is_empty(list: &str) -> bool {
    let within = list.trim().strip_prefix(['[', '{']).and_then(|list| list.strip_suffix([']', '}']));
    ["null", "0", "false", "\"\""].contains(&list.trim())
        || within.is_some_and(|within| within.trim().is_empty())
}

fn short(text: &str) -> Box<str> {
    beginning(text, MESSAGE_LEN_MAX).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;

    #[test]
    fn testers_tell_results_by_the_kind_of_that_name() {
        let kind = service::KINDS.iter().find(|kind| kind.name == "test_results").unwrap();
        assert_eq!(kind.kind, EventKind::TEST_RESULTS);
    }
}
