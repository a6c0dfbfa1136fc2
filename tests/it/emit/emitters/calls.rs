//! Calls every method of every typed emitter, with a sample in every field.

use super::samples::v;
use panther_events::domain::{assertion, environment, experiment, metrics, plugin, service, step, test};
use panther_events::emit::{EmitError, Emitter};

/// Calls each method once, in the order of the tables.
pub(crate) fn emit_all(emitter: &mut Emitter) -> Result<(), EmitError> {
    let mut to = emitter.experiment(super::ENTITY);
    to.initialized(v("config"))?;
    to.plugin_loading_started(experiment::PluginLoadingStarted { plugin_count: v("plugin_count") })?;
    to.plugin_loading_completed(v("loaded_plugins"), v("plugin_count"))?;
    to.plugin_loading_failed(
        v("error_message"),
        v("failed_plugins"),
        experiment::PluginLoadingFailed { error_type: v("error_type") },
    )?;
    to.test_cases_initialized(v("test_count"), v("test_names"))?;
    to.execution_started(experiment::ExecutionStarted { test_count: v("test_count") })?;
    to.execution_completed(
        v("success_count"),
        v("failure_count"),
        v("total_count"),
        experiment::ExecutionCompleted { duration_seconds: v("duration_seconds") },
    )?;
    to.execution_failed(
        v("error_message"),
        experiment::ExecutionFailed { error_type: v("error_type"), phase: v("phase") },
    )?;
    to.finished_early(v("reason"), experiment::FinishedEarly { details: v("details") })?;
    to.completed(v("summary"))?;
    to.failed(v("error_message"), experiment::Failed { error_type: v("error_type"), summary: v("summary") })?;
    to.service_failure(
        v("failed_service"),
        v("reason"),
        v("termination_source"),
        experiment::ServiceFailure { details: v("details") },
    )?;
    let mut to = emitter.test(super::ENTITY);
    to.created(v("test_name"), v("config"), test::Created { description: v("description") })?;
    to.setup_started(v("service_names"), test::SetupStarted { service_count: v("service_count") })?;
    to.setup_completed(v("services"), test::SetupCompleted { duration_seconds: v("duration_seconds") })?;
    to.setup_failed(
        v("error_message"),
        test::SetupFailed { error_type: v("error_type"), failed_component: v("failed_component") },
    )?;
    to.environment_setup_started(
        v("environment_type"),
        test::EnvironmentSetupStarted { environment_config: v("environment_config") },
    )?;
    to.environment_setup_completed(
        v("environment_type"),
        test::EnvironmentSetupCompleted { environment_details: v("environment_details") },
    )?;
    to.environment_setup_failed(
        v("environment_type"),
        v("error_message"),
        test::EnvironmentSetupFailed { error_type: v("error_type") },
    )?;
    to.deployment_started(v("services_to_deploy"))?;
    to.deployment_completed(
        v("deployed_services"),
        test::DeploymentCompleted { deployment_details: v("deployment_details") },
    )?;
    to.deployment_failed(
        v("error_message"),
        v("failed_services"),
        test::DeploymentFailed { error_type: v("error_type") },
    )?;
    to.execution_started(v("steps"), test::ExecutionStarted { expected_duration: v("expected_duration") })?;
    to.step_started(
        v("step_name"),
        test::StepStarted { step_type: v("step_type"), step_config: v("step_config") },
    )?;
    to.step_completed(
        v("step_name"),
        test::StepCompleted { duration_seconds: v("duration_seconds"), result: v("result") },
    )?;
    to.step_failed(v("step_name"), v("error_message"), test::StepFailed { error_type: v("error_type") })?;
    to.assertions_started(v("assertions"))?;
    to.assertion_checked(
        v("assertion_type"),
        v("passed"),
        test::AssertionChecked { assertion_config: v("assertion_config"), result: v("result") },
    )?;
    to.assertions_completed(
        v("total_assertions"),
        v("passed_assertions"),
        v("failed_assertions"),
        v("all_passed"),
    )?;
    to.assertions_failed(v("error_message"), test::AssertionsFailed { error_type: v("error_type") })?;
    to.execution_completed(test::ExecutionCompleted {
        duration_seconds: v("duration_seconds"),
        steps_completed: v("steps_completed"),
        assertions_passed: v("assertions_passed"),
    })?;
    to.execution_failed(
        v("error_message"),
        test::ExecutionFailed { error_type: v("error_type"), phase: v("phase") },
    )?;
    to.teardown_started()?;
    to.teardown_completed(test::TeardownCompleted { duration_seconds: v("duration_seconds") })?;
    to.completed(
        v("test_name"),
        test::Completed { total_duration_seconds: v("total_duration_seconds"), summary: v("summary") },
    )?;
    to.result()?;
    to.enhanced_result(v("category"), v("tags"), test::EnhancedResult { result_data: v("result_data") })?;
    to.failed(
        v("test_name"),
        v("error_message"),
        test::Failed { error_type: v("error_type"), phase: v("phase"), summary: v("summary") },
    )?;
    let mut to = emitter.service(super::ENTITY);
    to.created(v("service_name"), v("service_type"), v("implementation"), v("config"))?;
    to.preparation_started(v("service_name"), v("preparation_steps"))?;
    to.command_generation_started(
        v("service_name"),
        v("phase"),
        service::CommandGenerationStarted { config: v("config") },
    )?;
    to.docker_build_started(
        v("service_name"),
        v("dockerfile_path"),
        service::DockerBuildStarted { image_name: v("image_name") },
    )?;
    to.preparation_completed(
        v("service_name"),
        service::PreparationCompleted { duration_seconds: v("duration_seconds"), artifacts: v("artifacts") },
    )?;
    to.command_generated(
        v("service_name"),
        v("phase"),
        v("command"),
        service::CommandGenerated { command_type: v("command_type") },
    )?;
    to.command_modified(
        v("service_name"),
        v("phase"),
        v("original_command"),
        v("modified_command"),
        v("modifier"),
        service::CommandModified { modification_details: v("modification_details") },
    )?;
    to.docker_build_completed(
        v("service_name"),
        v("image_name"),
        v("success"),
        service::DockerBuildCompleted {
            error_message: v("error_message"),
            build_duration: v("build_duration"),
        },
    )?;
    to.preparation_failed(
        v("service_name"),
        v("error_message"),
        service::PreparationFailed { error_type: v("error_type"), failed_step: v("failed_step") },
    )?;
    to.deployment_started(
        v("service_name"),
        v("environment"),
        service::DeploymentStarted { deployment_config: v("deployment_config") },
    )?;
    to.config_generated(
        v("config_type"),
        v("config_path"),
        v("services_included"),
        service::ConfigGenerated { config_content: v("config_content") },
    )?;
    to.deployment_completed(
        v("service_name"),
        v("environment"),
        v("ports"),
        service::DeploymentCompleted { endpoint: v("endpoint"), deployment_details: v("deployment_details") },
    )?;
    to.deployment_failed(
        v("service_name"),
        v("environment"),
        v("error_message"),
        service::DeploymentFailed { error_type: v("error_type") },
    )?;
    to.started(v("service_name"), service::Started { pid: v("pid"), start_time: v("start_time") })?;
    to.ready(v("service_name"), service::Ready { readiness_checks: v("readiness_checks") })?;
    to.health_check_passed(
        v("service_name"),
        v("check_type"),
        service::HealthCheckPassed { endpoint: v("endpoint"), response_time_ms: v("response_time_ms") },
    )?;
    to.health_check_failed(
        v("service_name"),
        v("check_type"),
        v("error_message"),
        service::HealthCheckFailed { endpoint: v("endpoint"), status_code: v("status_code") },
    )?;
    to.stopped(
        v("service_name"),
        service::Stopped {
            exit_code: v("exit_code"),
            reason: v("reason"),
            uptime_seconds: v("uptime_seconds"),
        },
    )?;
    to.error(
        v("service_name"),
        v("error_message"),
        service::ServiceError { error_type: v("error_type"), error_details: v("error_details") },
    )?;
    to.docker_build_failed(
        v("service_name"),
        v("dockerfile_path"),
        v("error_message"),
        service::DockerBuildFailed { build_duration: v("build_duration") },
    )?;
    to.destroyed(v("service_name"), service::Destroyed { cleanup_details: v("cleanup_details") })?;
    to.test_results(
        v("service_name"),
        v("test_results"),
        v("overall_success"),
        service::TestResults { test_summary: v("test_summary") },
    )?;
    to.tester_analysis_started(v("tester_name"), v("inputs"), v("analysis_type"))?;
    to.tester_analysis_completed(
        v("tester_name"),
        v("passed"),
        v("failed_checks"),
        v("warnings"),
        service::TesterAnalysisCompleted { detailed_results: v("detailed_results") },
    )?;
    let mut to = emitter.environment(super::ENTITY);
    to.created(v("config"), v("environment_type"))?;
    to.initialization_started(v("initialization_type"))?;
    to.initialization_completed(
        v("duration"),
        environment::InitializationCompleted { initialization_details: v("initialization_details") },
    )?;
    to.initialization_failed(
        v("error_message"),
        environment::InitializationFailed { error_details: v("error_details") },
    )?;
    to.setup_started(v("setup_config"))?;
    to.setup_completed(
        v("duration"),
        environment::SetupCompleted { resources_allocated: v("resources_allocated") },
    )?;
    to.setup_failed(v("error_message"), environment::SetupFailed { error_details: v("error_details") })?;
    to.ready(v("readiness_checks"))?;
    to.teardown_started(v("teardown_reason"))?;
    to.teardown_completed(
        v("duration"),
        environment::TeardownCompleted { resources_released: v("resources_released") },
    )?;
    to.teardown_failed(
        v("error_message"),
        environment::TeardownFailed { error_details: v("error_details") },
    )?;
    to.deployment_started(
        v("services"),
        environment::DeploymentStarted { deployment_config: v("deployment_config") },
    )?;
    to.deployment_completed(
        v("success"),
        v("duration"),
        environment::DeploymentCompleted {
            deployed_services: v("deployed_services"),
            deployment_details: v("deployment_details"),
        },
    )?;
    to.deployment_failed(
        v("error_message"),
        v("error_type"),
        v("failed_services"),
        environment::DeploymentFailed { error_details: v("error_details") },
    )?;
    to.destroyed(v("cleanup_duration"), environment::Destroyed { cleanup_details: v("cleanup_details") })?;
    to.error(
        v("error_message"),
        v("error_type"),
        v("recovery_possible"),
        environment::EnvironmentError { error_details: v("error_details") },
    )?;
    to.resource(
        v("resource_type"),
        v("resource_action"),
        environment::Resource { resource_details: v("resource_details") },
    )?;
    to.configuration(v("config_change"), v("old_config"), v("new_config"))?;
    to.monitoring(
        v("metric_name"),
        v("metric_value"),
        v("metric_unit"),
        environment::Monitoring { additional_metrics: v("additional_metrics") },
    )?;
    to.network_setup_started(
        v("interfaces"),
        environment::NetworkSetupStarted { network_config: v("network_config") },
    )?;
    to.network_setup_completed(environment::NetworkSetupCompleted {
        allocated_resources: v("allocated_resources"),
        duration: v("duration"),
        network_config: v("network_config"),
    })?;
    to.network_setup_failed(
        v("error_message"),
        environment::NetworkSetupFailed {
            error_details: v("error_details"),
            network_config: v("network_config"),
        },
    )?;
    to.network_teardown_started(
        v("teardown_reason"),
        environment::NetworkTeardownStarted { network_config: v("network_config") },
    )?;
    to.network_teardown_completed(environment::NetworkTeardownCompleted {
        released_resources: v("released_resources"),
        duration: v("duration"),
        network_config: v("network_config"),
    })?;
    to.execution_setup_started(environment::ExecutionEnvironmentSetupStarted {
        resource_limits: v("resource_limits"),
        execution_config: v("execution_config"),
    })?;
    to.execution_setup_completed(environment::ExecutionEnvironmentSetupCompleted {
        allocated_resources: v("allocated_resources"),
        duration: v("duration"),
        execution_config: v("execution_config"),
    })?;
    to.execution_monitoring(environment::ExecutionEnvironmentResourceMonitoring {
        cpu_usage: v("cpu_usage"),
        memory_usage: v("memory_usage"),
        additional_metrics: v("additional_metrics"),
        execution_config: v("execution_config"),
    })?;
    to.execution_limit_exceeded(
        v("limit_type"),
        v("action_taken"),
        environment::ExecutionEnvironmentLimitExceeded {
            current_value: v("current_value"),
            limit_value: v("limit_value"),
            execution_config: v("execution_config"),
        },
    )?;
    to.output_collection_started(
        v("collection_targets"),
        environment::OutputCollectionStarted { collection_config: v("collection_config") },
    )?;
    to.output_collected(
        v("output_type"),
        v("output_path"),
        environment::OutputCollected { output_size: v("output_size"), metadata: v("metadata") },
    )?;
    to.outputs_collected(
        v("outputs"),
        v("total_count"),
        environment::OutputsCollected { total_size: v("total_size") },
    )?;
    to.output_collection_completed(
        v("outputs"),
        v("total_outputs"),
        environment::OutputCollectionCompleted {
            collection_duration: v("collection_duration"),
            collection_summary: v("collection_summary"),
        },
    )?;
    let mut to = emitter.step(super::ENTITY);
    to.execution_started(
        v("prerequisites"),
        v("step_name"),
        step::ExecutionStarted { step_config: v("step_config"), test_case_id: v("test_case_id") },
    )?;
    to.execution_completed(
        v("step_name"),
        step::ExecutionCompleted {
            duration: v("duration"),
            result: v("result"),
            output: v("output"),
            test_case_id: v("test_case_id"),
        },
    )?;
    to.execution_failed(
        v("error_message"),
        v("retry_count"),
        v("step_name"),
        step::ExecutionFailed {
            error_details: v("error_details"),
            duration: v("duration"),
            test_case_id: v("test_case_id"),
        },
    )?;
    to.progress(
        v("progress_message"),
        v("step_name"),
        step::Progress {
            progress_percentage: v("progress_percentage"),
            current_operation: v("current_operation"),
            test_case_id: v("test_case_id"),
        },
    )?;
    to.unsupported(
        v("reason"),
        v("alternative_steps"),
        v("step_name"),
        step::Unsupported { test_case_id: v("test_case_id") },
    )?;
    to.skipped(
        v("skip_reason"),
        v("step_name"),
        step::Skipped { skip_condition: v("skip_condition"), test_case_id: v("test_case_id") },
    )?;
    let mut to = emitter.assertion(super::ENTITY);
    to.validation_started(
        v("assertion_name"),
        assertion::ValidationStarted {
            total_assertions: v("total_assertions"),
            validation_config: v("validation_config"),
            test_case_id: v("test_case_id"),
            step_id: v("step_id"),
        },
    )?;
    to.validation_completed(
        v("passed_count"),
        v("failed_count"),
        v("total_count"),
        v("assertion_name"),
        assertion::ValidationCompleted {
            duration: v("duration"),
            summary: v("summary"),
            test_case_id: v("test_case_id"),
            step_id: v("step_id"),
        },
    )?;
    to.progress(
        v("progress_message"),
        v("assertion_name"),
        assertion::Progress {
            current_assertion: v("current_assertion"),
            total_assertions: v("total_assertions"),
            test_case_id: v("test_case_id"),
            step_id: v("step_id"),
        },
    )?;
    to.result(
        v("assertion_passed"),
        v("assertion_message"),
        v("assertion_name"),
        assertion::AssertionResult {
            expected_value: v("expected_value"),
            actual_value: v("actual_value"),
            assertion_details: v("assertion_details"),
            test_case_id: v("test_case_id"),
            step_id: v("step_id"),
        },
    )?;
    to.error(
        v("error_message"),
        v("error_type"),
        v("recoverable"),
        v("assertion_name"),
        assertion::AssertionError {
            error_details: v("error_details"),
            test_case_id: v("test_case_id"),
            step_id: v("step_id"),
        },
    )?;
    to.unknown(
        v("reason"),
        v("assertion_name"),
        assertion::Unknown { context: v("context"), test_case_id: v("test_case_id"), step_id: v("step_id") },
    )?;
    let mut to = emitter.plugin(super::ENTITY);
    to.loading_started(
        v("plugin_name"),
        v("plugin_type"),
        plugin::LoadingStarted { plugin_path: v("plugin_path"), loading_config: v("loading_config") },
    )?;
    to.loading_completed(
        v("capabilities"),
        v("plugin_name"),
        v("plugin_type"),
        plugin::LoadingCompleted { duration: v("duration"), version: v("version") },
    )?;
    to.loaded(
        v("plugin_path"),
        v("plugin_name"),
        v("plugin_type"),
        plugin::Loaded { metadata: v("metadata") },
    )?;
    to.loading_failed(
        v("error_message"),
        v("plugin_name"),
        v("plugin_type"),
        plugin::LoadingFailed { error_details: v("error_details"), duration: v("duration") },
    )?;
    to.initialized(
        v("dependencies"),
        v("plugin_name"),
        v("plugin_type"),
        plugin::Initialized { initialization_config: v("initialization_config") },
    )?;
    to.started(
        v("plugin_name"),
        v("plugin_type"),
        plugin::Started { startup_duration: v("startup_duration"), startup_details: v("startup_details") },
    )?;
    to.stopped(
        v("stop_reason"),
        v("plugin_name"),
        v("plugin_type"),
        plugin::Stopped { cleanup_duration: v("cleanup_duration"), cleanup_details: v("cleanup_details") },
    )?;
    to.error(
        v("error_message"),
        v("error_type"),
        v("recoverable"),
        v("plugin_name"),
        v("plugin_type"),
        plugin::PluginError { error_details: v("error_details") },
    )?;
    to.service_created(
        v("service_id"),
        v("service_name"),
        v("service_type"),
        v("plugin_name"),
        v("plugin_type"),
        plugin::ServiceCreated { service_config: v("service_config") },
    )?;
    to.service_manager_created(
        v("service_name"),
        v("implementation"),
        v("protocol"),
        v("plugin_name"),
        v("plugin_type"),
        plugin::ServiceManagerCreated { service_config: v("service_config") },
    )?;
    to.service_started(
        v("service_id"),
        v("service_name"),
        v("plugin_name"),
        v("plugin_type"),
        plugin::ServiceStarted { startup_duration: v("startup_duration") },
    )?;
    to.service_stopped(
        v("service_id"),
        v("service_name"),
        v("stop_reason"),
        v("plugin_name"),
        v("plugin_type"),
    )?;
    let mut to = emitter.metrics(super::ENTITY);
    to.collected(
        v("metric_name"),
        v("metric_type"),
        v("value"),
        metrics::MetricCollected { more: v("more") },
    )?;
    to.resource(v("resource_type"), v("value"), metrics::ResourceMetric { more: v("more") })?;
    to.timing(v("operation"), v("duration"), metrics::TimingMetric { more: v("more") })?;
    to.counter(v("counter_name"), v("value"), v("increment"), metrics::CounterMetric { more: v("more") })?;
    to.summary(v("metrics"), metrics::MetricsSummary { more: v("more") })?;
    Ok(())
}
