//! Reads captures once before they are fed, for what has to be known beforehand: see [`Survey`].

use crate::ingest::capture::{CaptureError, CaptureOptions, CaptureReader};
use crate::ingest::digest::{Coverage, PacketDigest};
use crate::ingest::feed::{CaptureInput, packet_flags};
use crate::ingest::input::Input;
use crate::ingest::packet::Decoded;
use crate::paths::{Ends, Survey, SurveyOptions, SurveyedPacket, VantageSurvey};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Packets after which it is looked whether to stop, and the progress is told.
const TELL_EVERY: u32 = 1 << 12;

/// Why captures were not surveyed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SurveyError {
    /// A capture is cut, and the digest is to cover whole packets: scan the captures for a common [`Coverage`] and begin anew.
    #[error("a capture holds only the beginning of its packets; digests must cover a prefix")]
    Cut,
    /// It was interrupted.
    #[error("interrupted")]
    Interrupted,
}

/// Surveys captures, each in a thread of its own where the system gives one. `progress` is raised by the bytes read.
///
/// Of a capture that cannot be read to its end, what comes before counts: the feed will tell of the fault.
///
/// # Errors
/// When a capture is cut and `digest` is to cover whole packets, or when `interrupt` becomes true.
pub fn survey(
    inputs: &[CaptureInput],
    digest: PacketDigest,
    options: &SurveyOptions,
    progress: &AtomicU64,
    interrupt: &AtomicBool,
) -> Result<Survey, SurveyError> {
    let stop = AtomicBool::new(false);
    let read = |input: &CaptureInput| {
        let mut seen = VantageSurvey::new(&input.vantage);
        let found = look_through(input, digest, &mut seen, progress, &[interrupt, &stop]);
        if let Err(SurveyError::Cut) = found {
            stop.store(true, Ordering::Relaxed);
        }
        found.map(|()| seen)
    };
    let seen: Result<Vec<VantageSurvey>, SurveyError> = std::thread::scope(|scope| {
        let begin = |input| {
            let thread = std::thread::Builder::new().name("pe-survey".to_owned());
            (input, thread.spawn_scoped(scope, move || read(input)).ok())
        };
        let threads: Vec<_> = inputs.iter().map(begin).collect();
        // One that was not given is done here; one that panicked has seen nothing, and the feed will tell of it.
        let end =
            |(input, thread): (&CaptureInput, Option<std::thread::ScopedJoinHandle<'_, _>>)| match thread {
                Some(thread) => thread.join().unwrap_or_else(|_| Ok(VantageSurvey::new(&input.vantage))),
                None => read(input),
            };
        let all: Vec<_> = threads.into_iter().map(end).collect();
        if all.iter().any(|one| matches!(one, Err(SurveyError::Cut))) {
            return Err(SurveyError::Cut);
        }
        all.into_iter().collect()
    });
    Ok(Survey::new(seen?, options))
}

/// Reads one capture.
fn look_through(
    input: &CaptureInput,
    digest: PacketDigest,
    seen: &mut VantageSurvey,
    progress: &AtomicU64,
    stop: &[&AtomicBool],
) -> Result<(), SurveyError> {
    let is_stopped = || stop.iter().any(|stop| stop.load(Ordering::Relaxed));
    let Some(mut capture) = open(input, stop.first()) else { return Ok(()) };
    let (mut packets, mut bytes_told) = (0_u32, 0);
    loop {
        packets = packets.wrapping_add(1);
        if packets.is_multiple_of(TELL_EVERY) {
            if is_stopped() {
                return Err(SurveyError::Interrupted);
            }
            progress.fetch_add(capture.bytes_read() - bytes_told, Ordering::Relaxed);
            bytes_told = capture.bytes_read();
        }
        // The feed tells of faults.
        let Ok(Some(frame)) = capture.next() else { break };
        let Decoded::Ip(packet) = frame.decode() else { continue };
        match digest.digest(&packet) {
            Ok(_) if !frame.has_time() => {}
            Ok(id) => {
                let flow = digest.flow(&packet);
                seen.see(&SurveyedPacket {
                    id: id.bits(),
                    time_ns: frame.time_ns,
                    ends: Some(Ends { src: flow.src(), dst: flow.dst() }),
                    flags: packet_flags(&frame, &packet),
                });
            }
            Err(_) if frame.is_cut() && digest.coverage() == Coverage::Whole => return Err(SurveyError::Cut),
            Err(_) => {}
        }
    }
    progress.fetch_add(capture.bytes_read() - bytes_told, Ordering::Relaxed);
    let counts = capture.counts();
    if counts.long_fraction + counts.far_future > counts.records / 2 {
        // Its times are in another unit than it says, those that look right as well: none of them can be used.
        *seen = VantageSurvey::new(&input.vantage);
        return Ok(());
    }
    seen.set_capture(counts.capture_dropped, counts.captured_ns);
    Ok(())
}

fn open<'a>(input: &CaptureInput, interrupt: Option<&&'a AtomicBool>) -> Option<CaptureReader<Input<'a>>> {
    let file = Input::open(&input.path, interrupt?, &|| {}).ok()?;
    let label = input.path.display().to_string();
    let opened: Result<_, CaptureError> = CaptureReader::new(file, &label, CaptureOptions::default());
    opened.ok()
}
