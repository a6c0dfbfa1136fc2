//! What a person is to know of a capture before they believe what follows from it.

use panther_events::ingest::capture::{CaptureCounts, Format};
use panther_events::ingest::feed::CaptureReport;

/// Says what of a capture cannot be believed, and whether nothing of it could be used: a line each, with the evidence, what it comes
/// from, and what helps.
pub(super) fn warnings(capture: &CaptureReport) -> Vec<String> {
    let path = capture.input.path.display();
    let stamps = stamps(&capture.counts, capture.format);
    let mut warnings: Vec<String> = stamps.map(|told| format!("{path}: {told}")).collect();
    if !capture.has_usable_packets() {
        let vantage = &capture.input.vantage;
        warnings.push(format!(
            "no-packets: {path}: no packet could be used, so nothing is known of vantage point {vantage:?}: {}; look at its interface, its \
             filter and its clock",
            nothing_used(capture)
        ));
    }
    if capture.unnamed_flows > 0 {
        warnings.push(format!("{path}: {} flows go without a name", capture.unnamed_flows));
    }
    warnings
}

/// Says which stamps cannot be believed.
fn stamps(counts: &CaptureCounts, format: Option<Format>) -> impl Iterator<Item = String> {
    let all = counts.records;
    let told = |count: u64, text: String| (count > 0).then_some(text);
    let without = told(
        counts.without_time,
        format!(
            "{} of {all} packets have no time and are left out: Simple Packet Blocks have none, so no delay, loss or direction can \
             be told; capture with a program that writes Enhanced Packet Blocks, such as dumpcap",
            counts.without_time
        ),
    );
    let share = if counts.zero_time == all { "all times are 0" } else { "times are 0" };
    let zero = told(
        counts.zero_time,
        format!(
            "{share} ({} of {all} packets, which are left out): did a conversion remove them?; take the capture as it was written",
            counts.zero_time
        ),
    );
    let before = told(
        counts.before_1970,
        format!(
            "{} of {all} packets have times before 1970 and are left out: was the clock not set yet?; capture once it is",
            counts.before_1970
        ),
    );
    let long = told(
        counts.long_fraction,
        format!("the fraction of {} of {all} records is 1 s or more: {}", counts.long_fraction, long(format)),
    );
    let far = told(
        counts.far_future,
        format!(
            "{} of {all} packets have times that lie after 2554, and were put at its end: nanoseconds in an interface whose \
             description does not say so (if_tsresol)?; write it, with options padded to four bytes, or capture as pcap",
            counts.far_future
        ),
    );
    [without, zero, before, long, far].into_iter().flatten()
}

/// Says where fractions of a second or more come from, and what helps.
fn long(format: Option<Format>) -> String {
    let begins = match format {
        Some(Format::Pcap { big_endian: true, nanoseconds: false }) => "a1 b2 3c 4d",
        Some(Format::Pcap { big_endian: false, nanoseconds: false }) => "4d 3c b2 a1",
        _ => return "is the file damaged?; take the capture as it was written".to_owned(),
    };
    format!(
        "nanoseconds under a microsecond magic?; if so, let a copy of the file begin with the bytes {begins}"
    )
}

/// Says why nothing of a capture could be used.
fn nothing_used(capture: &CaptureReport) -> String {
    let frames = capture.counts.records;
    if frames == 0 {
        return if capture.error.is_some() { "none could be read" } else { "the file holds none" }.to_owned();
    }
    let parts = [
        (capture.non_ip, "hold no IP packet"),
        (capture.refused, "were refused"),
        (capture.untimed, "have no time that can be used"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> =
        parts.map(|(count, what)| format!("{count} of {frames} frames {what}")).collect();
    parts.join(", ")
}
