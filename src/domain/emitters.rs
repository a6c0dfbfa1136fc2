//! The ways from an [`Emitter`] to the typed emitters of the domains.

use crate::domain::{assertion, environment, experiment, metrics, plugin, service, step, test};
use crate::emit::{Emitter, EventSink};
use crate::event::Domain;

/// A domain whose events have a typed emitter; its types stand for the domains where a function is for any of them.
pub trait TypedDomain: Send + Sync + 'static {
    /// The domain.
    const DOMAIN: Domain;

    /// Its typed emitter.
    type Emitter<'e>;

    /// Emits events of the entity named `name`.
    fn emitter<'e>(emitter: &'e mut Emitter, name: &str) -> Self::Emitter<'e>;

    /// Emits events of the entity named `name` into any sink.
    fn over<'e>(sink: &'e mut dyn EventSink, name: &str) -> Self::Emitter<'e>;
}

macro_rules! emitters {
    ($($method:ident, $Of:ident, $domain:ident, $Emitter:ident, $of:literal;)*) => {
        /// Typed emitters over any [`EventSink`], as [`Emitter`] has them.
        pub trait TypedSink: EventSink + Sized {
            $(
                #[doc = concat!("Emits events of the ", $of, " named `name`.")]
                fn $method(&mut self, name: &str) -> $method::$Emitter<'_> {
                    $method::$Emitter::over(self, name)
                }
            )*
        }

        impl<S: EventSink> TypedSink for S {}

        $(
            #[doc = concat!("Stands for the domain of ", $of, "s.")]
            #[derive(Clone, Copy, PartialEq, Eq, Debug)]
            pub enum $Of {}

            impl TypedDomain for $Of {
                const DOMAIN: Domain = Domain::$domain;
                type Emitter<'e> = $method::$Emitter<'e>;

                fn emitter<'e>(emitter: &'e mut Emitter, name: &str) -> $method::$Emitter<'e> {
                    $method::$Emitter::new(emitter, name)
                }

                fn over<'e>(sink: &'e mut dyn EventSink, name: &str) -> $method::$Emitter<'e> {
                    $method::$Emitter::over(sink, name)
                }
            }
        )*

        impl Emitter {
            $(
                #[doc = concat!("Emits events of the ", $of, " named `name`.")]
                ///
                /// The name goes into the pipeline's symbol table; where that refuses it, each event is refused.
                pub fn $method(&mut self, name: &str) -> $method::$Emitter<'_> {
                    $method::$Emitter::new(self, name)
                }
            )*
        }
    };
}

emitters! {
    experiment, Experiments, EXPERIMENT, ExperimentEmitter, "experiment";
    test, Tests, TEST, TestEmitter, "test";
    service, Services, SERVICE, ServiceEmitter, "service";
    environment, Environments, ENVIRONMENT, EnvironmentEmitter, "environment";
    step, Steps, STEP, StepEmitter, "step";
    assertion, Assertions, ASSERTION, AssertionEmitter, "assertion";
    plugin, Plugins, PLUGIN, PluginEmitter, "plugin";
    metrics, MetricSamples, METRICS, MetricsEmitter, "metric";
}
