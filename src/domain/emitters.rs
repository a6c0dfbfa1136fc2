//! The ways from an [`Emitter`] to the typed emitters of the domains.

use crate::domain::{assertion, environment, experiment, metrics, plugin, service, step, test};
use crate::emit::Emitter;

macro_rules! emitters {
    ($($method:ident, $Emitter:ty, $of:literal;)*) => {
        impl Emitter {
            $(
                #[doc = concat!("Emits events of the ", $of, " named `name`.")]
                ///
                /// The name goes into the pipeline's symbol table; where that refuses it, each event is refused.
                pub fn $method(&mut self, name: &str) -> $Emitter {
                    <$Emitter>::new(self, name)
                }
            )*
        }
    };
}

emitters! {
    experiment, experiment::ExperimentEmitter<'_>, "experiment";
    test, test::TestEmitter<'_>, "test";
    service, service::ServiceEmitter<'_>, "service";
    environment, environment::EnvironmentEmitter<'_>, "environment";
    step, step::StepEmitter<'_>, "step";
    assertion, assertion::AssertionEmitter<'_>, "assertion";
    plugin, plugin::PluginEmitter<'_>, "plugin";
    metrics, metrics::MetricsEmitter<'_>, "metric";
}
