//! The domain `service`: a service under test, or its tester.

use crate::event::{Domain, Value};
use std::time::Duration;

crate::domain::table::domain! {
    /// Emits events of one service.
    ServiceEmitter "service" Domain::SERVICE;

    initial Created;
    terminal Destroyed;
    state Created "created"        -> [Preparing Error Destroyed];
    state Preparing "preparing"    -> [Prepared Error Destroyed];
    state Prepared "prepared"      -> [Deploying Error Destroyed];
    state Deploying "deploying"    -> [Deployed Error Destroyed];
    state Deployed "deployed"      -> [Starting Stopping Error Destroyed];
    state Starting "starting"      -> [Running Stopping Error Destroyed];
    state Running "running"        -> [Ready Stopping Error Destroyed];
    state Ready "ready"            -> [Running Stopping Error Destroyed];
    state Stopping "stopping"      -> [Stopped Error Destroyed];
    state Stopped "stopped"        -> [Starting Destroying Destroyed];
    state Error "error"            -> [Stopping Destroying Destroyed];
    state Destroying "destroying"  -> [Destroyed];
    state Destroyed "destroyed"    -> [];

    0 "created" Lifecycle -> [Created] {}
        ServiceCreatedEvent created(service_name: &str, service_type: &str, implementation: &str,
                config: Value<'_>);

    1 "preparation_started" Lifecycle -> [Preparing] {}
        ServicePreparationStartedEvent preparation_started(service_name: &str, preparation_steps: Value<'_>);
        CommandGenerationStartedEvent command_generation_started(service_name: &str, phase: &str)
            + CommandGenerationStarted<'a> { config: Value<'a> }
            = { action: "command_generation_started" };
        DockerBuildStartedEvent docker_build_started(service_name: &str, dockerfile_path: &str)
            + DockerBuildStarted<'a> { image_name: &'a str }
            = { action: "docker_build_started" };

    2 "preparation_completed" Lifecycle -> [Prepared] { duration_ns OptU64 8, success Bool 21 }
        ServicePreparationCompletedEvent preparation_completed(service_name: &str)
            + PreparationCompleted<'a> { duration_seconds: Duration => duration_ns, artifacts: Value<'a> };
        CommandGeneratedEvent command_generated(service_name: &str, phase: &str, command: &str)
            + CommandGenerated<'a> { command_type: &'a str }
            = { action: "command_generated" };
        CommandModifiedEvent command_modified(service_name: &str, phase: &str, original_command: &str,
                modified_command: &str, modifier: &str)
            + CommandModified<'a> { modification_details: Value<'a> }
            = { action: "command_modified" };
        DockerBuildCompletedEvent docker_build_completed(service_name: &str, image_name: &str,
                success: bool => success)
            + DockerBuildCompleted<'a> { error_message: &'a str, build_duration: Duration => duration_ns }
            = { action: "docker_build_completed" };

    3 "preparation_failed" Lifecycle -> [Error] {}
        ServicePreparationFailedEvent preparation_failed(service_name: &str, error_message: &str)
            + PreparationFailed<'a> { error_type: &'a str, failed_step: &'a str };

    4 "deployment_started" Lifecycle -> [Deploying] {}
        ServiceDeploymentStartedEvent deployment_started(service_name: &str, environment: &str)
            + DeploymentStarted<'a> { deployment_config: Value<'a> };
        ConfigGeneratedEvent config_generated(config_type: &str, config_path: &str, services_included: Value<'_>)
            + ConfigGenerated<'a> { config_content: &'a str }
            = { action: "config_generated" };

    5 "deployment_completed" Lifecycle -> [Deployed] { first_port OptU16 22 }
        ServiceDeploymentCompletedEvent deployment_completed(service_name: &str, environment: &str,
                ports: &[u16] => first_port)
            + DeploymentCompleted<'a> { endpoint: &'a str, deployment_details: Value<'a> };

    6 "deployment_failed" Lifecycle -> [Error] {}
        ServiceDeploymentFailedEvent deployment_failed(service_name: &str, environment: &str, error_message: &str)
            + DeploymentFailed<'a> { error_type: &'a str };

    7 "started" Lifecycle -> [Starting Running] { pid OptU32 8 }
        ServiceStartedEvent started(service_name: &str)
            + Started<'a> { pid: u64 => pid, start_time: &'a str };

    8 "ready" Lifecycle -> [Ready] {}
        ServiceReadyEvent ready(service_name: &str) + Ready<'a> { readiness_checks: Value<'a> };

    9 "health_check_passed" Sample -> [] { response_time_ns OptU64 8 }
        ServiceHealthCheckPassedEvent health_check_passed(service_name: &str, check_type: &str)
            + HealthCheckPassed<'a> { endpoint: &'a str, response_time_ms: Duration => response_time_ns };

    10 "health_check_failed" Sample -> [Running] { status_code OptU16 22 }
        ServiceHealthCheckFailedEvent health_check_failed(service_name: &str, check_type: &str, error_message: &str)
            + HealthCheckFailed<'a> { endpoint: &'a str, status_code: u64 => status_code };

    11 "stopped" Lifecycle -> [Stopping Stopped] { exit_code OptI64 8, uptime_ns OptU64 16 }
        ServiceStoppedEvent stopped(service_name: &str)
            + Stopped<'a> { exit_code: i64 => exit_code, reason: &'a str, uptime_seconds: Duration => uptime_ns };

    12 "error" Lifecycle -> [Error] { build_duration_ns OptU64 8 }
        ServiceErrorEvent error(service_name: &str, error_message: &str)
            + ServiceError<'a> { error_type: &'a str, error_details: Value<'a> };
        DockerBuildFailedEvent docker_build_failed(service_name: &str, dockerfile_path: &str, error_message: &str)
            + DockerBuildFailed { build_duration: Duration => build_duration_ns }
            = { action: "docker_build_failed" };

    13 "destroyed" Lifecycle -> [Destroyed] {}
        ServiceDestroyedEvent destroyed(service_name: &str) + Destroyed<'a> { cleanup_details: Value<'a> };

    14 "test_results" Lifecycle -> [] { passed Bool 21 }
        ServiceTestResultsEvent test_results(service_name: &str, test_results: Value<'_>,
                overall_success: bool => passed)
            + TestResults<'a> { test_summary: Value<'a> }
            = { action: "service_test_results" };
        TesterAnalysisStartedEvent tester_analysis_started(tester_name: &str, inputs: Value<'_>,
                analysis_type: &str)
            = { action: "tester_analysis_started" };
        TesterAnalysisCompletedEvent tester_analysis_completed(tester_name: &str, passed: bool => passed,
                failed_checks: Value<'_>, warnings: Value<'_>)
            + TesterAnalysisCompleted<'a> { detailed_results: Value<'a> }
            = { action: "tester_analysis_completed" };
}
