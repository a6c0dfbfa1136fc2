//! Errors as events: message, type, severity, the chain of causes, and where it came about.

use crate::emit::{EmitError, Emitter};
use crate::event::json::{beginning, push_number, push_text};
use crate::event::{Detail, Domain, EventKind, Symbol};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::error::Error;
use std::fmt;

/// How bad an error is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum Severity {
    /// Worth knowing, and nothing failed.
    Warning = 1,
    /// Something failed, and the rest goes on.
    #[default]
    Error = 2,
    /// What it is about cannot go on.
    Fatal = 3,
}

impl Severity {
    /// Returns the severity's name, as documents have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Fatal => "fatal",
        }
    }
}

crate::payload! {
    /// An error came about. The record's entity is what it is about.
    pub struct ErrorRaised [EventKind::new(Domain::PIPELINE, 3)] {
        /// `message`, `type`, `severity`, `chain` (the causes, nearest first) and `backtrace`, the last two where
        /// there are any.
        error: crate::event::Detail,
        /// See [`Severity`]: 1 warning, 2 error, 3 fatal.
        severity: u32,
        /// Causes in the chain, at most [`CAUSES_MAX`].
        causes: u32,
    }
}

/// Causes that are followed; a chain that goes in a circle ends here.
pub const CAUSES_MAX: usize = 64;
/// Bytes of each message that are kept.
const MESSAGE_LEN_MAX: usize = 8 << 10;
/// Bytes of a backtrace that are kept.
const BACKTRACE_LEN_MAX: usize = 128 << 10;

/// An error, as an event is to tell it.
///
/// ```
/// use panther_events::emit::{ErrorEvent, Severity};
/// use panther_events::pipeline::Pipeline;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pipeline = Pipeline::builder().start()?;
/// let mut emitter = pipeline.emitter("runner")?;
/// if let Err(error) = "7x".parse::<u16>() {
///     ErrorEvent::of(&error).severity(Severity::Warning).emit(&mut emitter, "server")?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// An `anyhow::Error` is told by [`ErrorEvent::of_dyn`]`(error.as_ref())`, with `.backtrace(error.backtrace())`.
#[derive(Clone, Copy)]
pub struct ErrorEvent<'a> {
    error: &'a (dyn Error + 'a),
    error_type: Option<&'a str>,
    severity: Severity,
    backtrace: Option<&'a dyn fmt::Display>,
}

impl<'a> ErrorEvent<'a> {
    /// Tells of an error whose type is known.
    #[must_use]
    pub fn of<E: Error + 'a>(error: &'a E) -> ErrorEvent<'a> {
        let error_type = Some(std::any::type_name::<E>());
        ErrorEvent { error, error_type, severity: Severity::default(), backtrace: None }
    }

    /// Tells of an error whose type is not known.
    #[must_use]
    pub fn of_dyn(error: &'a (dyn Error + 'a)) -> ErrorEvent<'a> {
        ErrorEvent { error, error_type: None, severity: Severity::default(), backtrace: None }
    }

    /// Says what type it is.
    #[must_use]
    pub fn error_type(mut self, error_type: &'a str) -> ErrorEvent<'a> {
        self.error_type = Some(error_type);
        self
    }

    /// Says how bad it is; [`Severity::Error`] where this is not said.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> ErrorEvent<'a> {
        self.severity = severity;
        self
    }

    /// Says where it came about, unless the backtrace was not captured.
    #[must_use]
    pub fn backtrace(mut self, backtrace: &'a Backtrace) -> ErrorEvent<'a> {
        self.backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace as _);
        self
    }

    /// Says where it came about, in any words, such as a stack trace of another language.
    #[must_use]
    pub fn stack_trace(mut self, trace: &'a dyn fmt::Display) -> ErrorEvent<'a> {
        self.backtrace = Some(trace);
        self
    }

    /// Emits the event `pipeline.error` about `entity`.
    ///
    /// # Errors
    /// When the event was not accepted; it is counted.
    pub fn emit(&self, emitter: &mut Emitter, entity: &str) -> Result<(), EmitError> {
        let (document, causes) = self.document();
        let entity: Symbol = match emitter.note_name(entity) {
            Ok(entity) => entity,
            Err(error) => return emitter.refuse_unmade(EmitError::Entity(error.into())),
        };
        let error: Detail = match emitter.note_document(&document) {
            Ok(detail) => detail,
            Err(error) => return emitter.refuse_unmade(EmitError::Detail(error)),
        };
        emitter.emit(entity, &ErrorRaised { error, severity: self.severity as u32, causes })
    }

    /// Writes the document, and counts the causes.
    fn document(&self) -> (String, u32) {
        let mut text = String::from("{\"message\":");
        push_text(&mut text, &cut(self.error, MESSAGE_LEN_MAX));
        if let Some(error_type) = self.error_type {
            text.push_str(",\"type\":");
            push_text(&mut text, error_type);
        }
        push_number(&mut text, format_args!(",\"severity\":\"{}\"", self.severity.name()));
        let mut causes = 0;
        let mut next = self.error.source();
        while let Some(cause) = next.filter(|_| causes < CAUSES_MAX) {
            text.push_str(if causes == 0 { ",\"chain\":[" } else { "," });
            push_text(&mut text, &cut(cause, MESSAGE_LEN_MAX));
            causes += 1;
            next = cause.source();
        }
        if causes > 0 {
            text.push(']');
        }
        if let Some(backtrace) = self.backtrace {
            text.push_str(",\"backtrace\":");
            push_text(&mut text, &cut(backtrace, BACKTRACE_LEN_MAX));
        }
        text.push('}');
        (text, u32::try_from(causes).unwrap_or(u32::MAX))
    }
}

impl fmt::Debug for ErrorEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErrorEvent").field("error", &self.error).field("severity", &self.severity).finish()
    }
}

/// Writes what is shown, and ends what is too long with `...`.
fn cut(shown: &(impl fmt::Display + ?Sized), len_max: usize) -> String {
    struct Cut(String, usize);
    impl fmt::Write for Cut {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = self.1 - self.0.len();
            let kept = beginning(text, room);
            self.0.push_str(kept);
            if kept.len() < text.len() { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut cut = Cut(String::new(), len_max);
    // An error is the sign that it was cut, or that it could not be shown further.
    if fmt::write(&mut cut, format_args!("{shown}")).is_err() {
        cut.0.push_str("...");
    }
    cut.0
}
