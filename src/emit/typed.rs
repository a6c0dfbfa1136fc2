//! What typed emitters need of an [`Emitter`]: they lay out payloads and write documents themselves.

use crate::emit::source::SEQ_LAST;
use crate::emit::{EmitError, Emitter, GIVE};
use crate::event::{EventId, EventKind, Identity, Record, Symbol};

/// Bytes of memory for documents that an emitter keeps, at most.
const TEXT_KEPT: usize = 1 << 16;

impl Emitter {
    /// Lends a string to write a document into, so that writing one does not allocate each time.
    pub(crate) fn take_text(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// Takes the string back.
    pub(crate) fn give_text(&mut self, text: String) {
        // A long document is rare; its memory is not kept for the short ones.
        if text.capacity() <= TEXT_KEPT {
            self.text = text;
        }
    }

    /// Offers an event whose payload is laid out; stamped now without a time. With a key it is the same as any other of that
    /// key.
    pub(crate) fn emit_payload(
        &mut self,
        kind: EventKind,
        time_ns: Option<u64>,
        entity: Symbol,
        payload: [u8; 24],
        key: Option<EventId>,
    ) -> Result<(), EmitError> {
        let time_ns = time_ns.unwrap_or_else(|| self.stamps.now_ns());
        let payload = bytemuck::cast(payload);
        match (self.emit_shared.router.identity(kind), key) {
            (Some(_), Some(key)) => {
                let record = Record::raw(key.bits(), Identity::Digest, time_ns, entity, kind, payload);
                self.offer_record::<GIVE>(record)
            }
            (Some(identity), None) if identity != Identity::Digest => {
                self.offer_record::<GIVE>(Record::raw(0, identity, time_ns, entity, kind, payload))
            }
            (other, _) => self.refuse(other, kind),
        }
    }

    /// Offers one record that was made elsewhere.
    pub(crate) fn emit_one(&mut self, record: Record) -> Result<(), EmitError> {
        if self.emit_shared.router.identity(record.kind()).is_none() {
            return self.refuse(None, record.kind());
        }
        if !record.is_well_formed() {
            return self.refuse_unmade(EmitError::Malformed);
        }
        self.offer_record::<GIVE>(record)
    }

    /// Counts an event that could not be made, and returns the error.
    pub(crate) fn refuse_unmade(&mut self, error: EmitError) -> Result<(), EmitError> {
        if self.source.next_seq() > SEQ_LAST {
            self.renew_source()?;
        }
        let Some(_inside) = self.source.active.enter(&self.emit_shared.gate) else {
            return self.source.too_late();
        };
        self.source.fail(error)
    }
}
