//! Typed emitters: how an [`Emitter`] takes the events that a domain's table describes.

use crate::domain::draft::Sink;
use crate::domain::{assertion, environment, experiment, metrics, plugin, service, step, test};
use crate::emit::{EmitError, Emitter};
use crate::event::{EventKind, Identity, Record, Symbol, Symbols};

/// Bytes of memory for documents that an emitter keeps, at most.
const TEXT_KEPT: usize = 1 << 16;

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

impl Sink for Emitter {
    fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    fn take_text(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    fn give_text(&mut self, text: String) {
        // A long document is rare; its memory is not kept for the short ones.
        if text.capacity() <= TEXT_KEPT {
            self.text = text;
        }
    }

    fn emit(
        &mut self,
        kind: EventKind,
        time_ns: Option<u64>,
        entity: Symbol,
        payload: [u8; 24],
    ) -> Result<(), EmitError> {
        let time_ns = time_ns.unwrap_or_else(|| self.clock.now_ns());
        match self.entrance.routes.identity(kind) {
            Some(identity) if identity != Identity::Digest => {
                let payload = bytemuck::cast(payload);
                self.offer(kind, entity, None, move |source, seq| {
                    Record::raw(0, identity, time_ns, entity, kind, payload).numbered(source, seq)
                })
            }
            other => self.refuse(other, kind),
        }
    }

    fn refuse(&mut self, error: EmitError) -> Result<(), EmitError> {
        self.number()?;
        let Some(_inside) = self.source.gate.enter(&self.entrance.closed) else {
            return self.tally.fail(&self.source, EmitError::Closed);
        };
        self.tally.fail(&self.source, error)
    }
}
