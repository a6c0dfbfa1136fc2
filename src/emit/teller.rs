//! Speaking for several tellers through one emitter: each has a source of its own.

use crate::emit::source::Source;
use crate::emit::{EmitStats, Emitter};
use crate::sync::Arc;

impl Emitter {
    /// Opens a source under which the emitter can speak for somebody else: events of several tellers that come through one
    /// emitter are not one teller's. `None` when no number is left.
    pub(crate) fn open_teller(&self, name: &str) -> Option<Arc<Source>> {
        self.emit_shared.sources.open(name)
    }

    /// Lets `emit` emit under the teller's source.
    pub(crate) fn speak_as<R>(
        &mut self,
        teller: &mut Arc<Source>,
        emit: impl FnOnce(&mut Emitter) -> R,
    ) -> R {
        self.swap_source(teller);
        let emitted = emit(self);
        self.swap_source(teller);
        emitted
    }

    /// Ends a teller's source.
    pub(crate) fn close_teller(&self, teller: &Arc<Source>) {
        self.emit_shared.sources.close(teller);
    }

    fn swap_source(&mut self, other: &mut Arc<Source>) {
        let sent = self.sent();
        std::mem::swap(&mut self.source, other);
        let of_source = self.source.sent();
        self.earlier = EmitStats {
            accepted: sent.accepted - of_source.accepted,
            dropped_full: sent.dropped_full - of_source.dropped_full,
            rejected: sent.rejected - of_source.rejected,
        };
        self.carry_context_over();
    }
}
