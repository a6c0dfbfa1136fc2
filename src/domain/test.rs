//! The domain `test`: one test case, from setup to teardown.

use crate::event::{Domain, Value};
use std::time::Duration;

crate::domain::table::domain! {
    /// Emits events of one test case.
    TestEmitter "test" Domain::TEST;

    initial Created;
    terminal Completed Failed;
    state Created "created"                              -> [SettingUp Failed];
    state SettingUp "setting_up"                         -> [SettingUpServices Failed];
    state SettingUpServices "setting_up_services"        -> [ServicesSetup Failed];
    state ServicesSetup "services_setup"                 -> [SettingUpEnvironment Failed];
    state SettingUpEnvironment "setting_up_environment"  -> [EnvironmentSetup Failed];
    state EnvironmentSetup "environment_setup"           -> [Deploying Failed];
    state Deploying "deploying"                          -> [Deployed Failed];
    state Deployed "deployed"                            -> [Executing Failed];
    state Executing "executing"                          -> [ExecutingSteps Failed];
    state ExecutingSteps "executing_steps"               -> [ValidatingAssertions TearingDown Failed];
    state ValidatingAssertions "validating_assertions"   -> [TearingDown Failed];
    state TearingDown "tearing_down"                     -> [Completed Failed];
    state Completed "completed"                          -> [];
    state Failed "failed"                                -> [];

    0 "created" Lifecycle -> [Created] {}
        TestCreatedEvent created(test_name: &str, config: Value<'_>) + Created<'a> { description: &'a str };

    1 "setup_started" Lifecycle -> [SettingUp SettingUpServices] { service_count OptU32 8 }
        TestSetupStartedEvent setup_started(service_names: Value<'_>)
            + SetupStarted { service_count: u64 => service_count };

    2 "setup_completed" Lifecycle -> [ServicesSetup] { duration_ns OptU64 8 }
        TestSetupCompletedEvent setup_completed(services: Value<'_>)
            + SetupCompleted { duration_seconds: Duration => duration_ns };

    3 "setup_failed" Lifecycle -> [Failed] {}
        TestSetupFailedEvent setup_failed(error_message: &str)
            + SetupFailed<'a> { error_type: &'a str, failed_component: &'a str };

    4 "environment_setup_started" Lifecycle -> [SettingUpEnvironment] {}
        TestEnvironmentSetupStartedEvent environment_setup_started(environment_type: &str)
            + EnvironmentSetupStarted<'a> { environment_config: Value<'a> };

    5 "environment_setup_completed" Lifecycle -> [EnvironmentSetup] {}
        TestEnvironmentSetupCompletedEvent environment_setup_completed(environment_type: &str)
            + EnvironmentSetupCompleted<'a> { environment_details: Value<'a> };

    6 "environment_setup_failed" Lifecycle -> [Failed] {}
        TestEnvironmentSetupFailedEvent environment_setup_failed(environment_type: &str, error_message: &str)
            + EnvironmentSetupFailed<'a> { error_type: &'a str };

    7 "deployment_started" Lifecycle -> [Deploying] {}
        TestDeploymentStartedEvent deployment_started(services_to_deploy: Value<'_>);

    8 "deployment_completed" Lifecycle -> [Deployed] {}
        TestDeploymentCompletedEvent deployment_completed(deployed_services: Value<'_>)
            + DeploymentCompleted<'a> { deployment_details: Value<'a> };

    9 "deployment_failed" Lifecycle -> [Failed] {}
        TestDeploymentFailedEvent deployment_failed(error_message: &str, failed_services: Value<'_>)
            + DeploymentFailed<'a> { error_type: &'a str };

    10 "execution_started" Lifecycle -> [Executing] { expected_duration_ns OptU64 8 }
        TestExecutionStartedEvent execution_started(steps: Value<'_>)
            + ExecutionStarted { expected_duration: Duration => expected_duration_ns };

    11 "step_started" Lifecycle -> [ExecutingSteps] {}
        TestStepStartedEvent step_started(step_name: &str)
            + StepStarted<'a> { step_type: &'a str, step_config: Value<'a> };

    12 "step_completed" Lifecycle -> [] { duration_ns OptU64 8 }
        TestStepCompletedEvent step_completed(step_name: &str)
            + StepCompleted<'a> { duration_seconds: Duration => duration_ns, result: Value<'a> };

    13 "step_failed" Lifecycle -> [] {}
        TestStepFailedEvent step_failed(step_name: &str, error_message: &str)
            + StepFailed<'a> { error_type: &'a str };

    14 "assertions_started" Lifecycle -> [ValidatingAssertions] {}
        TestAssertionsStartedEvent assertions_started(assertions: Value<'_>);

    15 "assertion_checked" Lifecycle -> [] { passed Bool 21 }
        TestAssertionCheckedEvent assertion_checked(assertion_type: &str, passed: bool => passed)
            + AssertionChecked<'a> { assertion_config: Value<'a>, result: Value<'a> };

    16 "assertions_completed" Lifecycle -> [] { total_assertions OptU32 8, passed_assertions OptU32 12,
                failed_assertions OptU32 16, all_passed Bool 21 }
        TestAssertionsCompletedEvent assertions_completed(total_assertions: u64 => total_assertions,
                passed_assertions: u64 => passed_assertions, failed_assertions: u64 => failed_assertions,
                all_passed: bool => all_passed);

    17 "assertions_failed" Lifecycle -> [Failed] {}
        TestAssertionsFailedEvent assertions_failed(error_message: &str)
            + AssertionsFailed<'a> { error_type: &'a str };

    18 "execution_completed" Lifecycle -> [] { duration_ns OptU64 8, steps_completed OptU32 16,
                assertions_passed Bool 21 }
        TestExecutionCompletedEvent execution_completed()
            + ExecutionCompleted { duration_seconds: Duration => duration_ns,
                steps_completed: u64 => steps_completed, assertions_passed: bool => assertions_passed };

    19 "execution_failed" Lifecycle -> [Failed] {}
        TestExecutionFailedEvent execution_failed(error_message: &str)
            + ExecutionFailed<'a> { error_type: &'a str, phase: &'a str };

    20 "teardown_started" Lifecycle -> [TearingDown] {}
        TestTeardownStartedEvent teardown_started();

    21 "teardown_completed" Lifecycle -> [] { duration_ns OptU64 8 }
        TestTeardownCompletedEvent teardown_completed()
            + TeardownCompleted { duration_seconds: Duration => duration_ns };

    22 "completed" Lifecycle -> [Completed] { total_duration_ns OptU64 8 }
        TestCompletedEvent completed(test_name: &str)
            + Completed<'a> { total_duration_seconds: Duration => total_duration_ns, summary: Value<'a> };
        TestResultEvent result();
        EnhancedResultEvent enhanced_result(category: &str, tags: Value<'_>)
            + EnhancedResult<'a> { result_data: Value<'a> };

    23 "failed" Lifecycle -> [Failed] {}
        TestFailedEvent failed(test_name: &str, error_message: &str)
            + Failed<'a> { error_type: &'a str, phase: &'a str, summary: Value<'a> };
}
