//! The domain `assertion`: what a test claims, and what became of the claim.
//!
//! Two events fork: a validation without a failed assertion passes, and so does a result that says so.

use crate::event::{Domain, Value};
use std::time::Duration;

crate::domain::table::domain! {
    /// Emits events of one assertion.
    AssertionEmitter "assertion" Domain::ASSERTION;

    initial Created;
    terminal Passed Failed Error Skipped Unknown;
    state Created "created"        -> [Pending Validating Skipped];
    state Pending "pending"        -> [Validating Skipped];
    state Validating "validating"  -> [Passed Failed Error Unknown];
    state Passed "passed"          -> [];
    state Failed "failed"          -> [];
    state Error "error"            -> [];
    state Skipped "skipped"        -> [];
    state Unknown "unknown"        -> [];

    0 "validation_started" Lifecycle -> [Validating] { total_assertions OptU32 8 }
        AssertionsValidationStartedEvent validation_started(assertion_name: &str)
            + ValidationStarted<'a> { total_assertions: u64 => total_assertions, validation_config: Value<'a>,
                test_case_id: &'a str, step_id: &'a str }
            = { action: "assertions_validation_started" };

    1 "validation_completed" Lifecycle -> { failed_count: Passed | Failed } { duration_ns OptU56 8,
                passed_count OptU24 15, failed_count OptU24 18, total_count OptU24 21 }
        AssertionsValidationCompletedEvent validation_completed(passed_count: u64 => passed_count,
                failed_count: u64 => failed_count, total_count: u64 => total_count, assertion_name: &str)
            + ValidationCompleted<'a> { duration: Duration => duration_ns, summary: Value<'a>,
                test_case_id: &'a str, step_id: &'a str }
            = { action: "assertions_validation_completed" };

    2 "progress" Sample -> [] { current_assertion OptU32 8, total_assertions OptU32 12 }
        AssertionProgressEvent progress(progress_message: &str, assertion_name: &str)
            + Progress<'a> { current_assertion: u64 => current_assertion,
                total_assertions: u64 => total_assertions, test_case_id: &'a str, step_id: &'a str }
            = { action: "assertion_progress" };

    3 "result" Lifecycle -> { assertion_passed: Failed | Passed } { assertion_passed Bool 21 }
        AssertionResultEvent result(assertion_passed: bool => assertion_passed, assertion_message: &str,
                assertion_name: &str)
            + AssertionResult<'a> { expected_value: Value<'a>, actual_value: Value<'a>,
                assertion_details: Value<'a>, test_case_id: &'a str, step_id: &'a str }
            = { action: "assertion_result" };

    4 "error" Lifecycle -> [Error] { recoverable Bool 21 }
        AssertionErrorEvent error(error_message: &str, error_type: &str, recoverable: bool => recoverable,
                assertion_name: &str)
            + AssertionError<'a> { error_details: Value<'a>, test_case_id: &'a str, step_id: &'a str }
            = { action: "assertion_error" };

    5 "unknown" Lifecycle -> [Unknown] {}
        AssertionUnknownEvent unknown(reason: &str, assertion_name: &str)
            + Unknown<'a> { context: Value<'a>, test_case_id: &'a str, step_id: &'a str }
            = { action: "assertion_unknown" };
}
