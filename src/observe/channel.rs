//! The observer `channel`: hands events to a consumer of the user's own, on a thread of its own.
//!
//! ```
//! use panther_events::observe::Interest;
//! use panther_events::observe::channel::Channel;
//! use panther_events::pipeline::Pipeline;
//!
//! let (channel, events) = Channel::new(Interest::ALL, 1024);
//! let mut builder = Pipeline::builder();
//! let key = builder.observer("channel", move |_| channel.clone());
//! let consumer = std::thread::spawn(move || events.iter().map(|batch| batch.len()).sum::<usize>());
//! let pipeline = builder.start()?;
//! let snapshot = pipeline.shutdown();
//! assert_eq!(consumer.join().ok(), Some(0));
//! assert_eq!(snapshot.report(key).map(|report| report.lost), Some(0));
//! # Ok::<(), panther_events::pipeline::StartError>(())
//! ```

use crate::dedup::Verdict;
use crate::event::Record;
use crate::observe::{Batch, Interest, Observer, Report, Undelivered};
use crossbeam_channel::{Receiver, Sender, TrySendError};

/// Sends events into a bounded channel, and never waits for room in it.
///
/// Clones send into the same channel, so that each worker has an instance. The receiving end sees the channel end
/// when the pipeline has shut down.
#[derive(Clone)]
pub struct Channel {
    interest: Interest,
    sender: Sender<Events>,
    report: ChannelReport,
}

/// Events on their way to the consumer, with their verdicts: up to 64 of them.
#[derive(Clone, Debug)]
pub struct Events {
    records: Vec<Record>,
    verdicts: Vec<Verdict>,
}

/// What became of the events that a [`Channel`] was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ChannelReport {
    /// New events put into the channel.
    pub sent: u64,
    /// New events lost: the channel was full, or the receiving end gone.
    pub lost: u64,
    /// Duplicates put into the channel.
    pub sent_duplicates: u64,
    /// Duplicates lost.
    pub lost_duplicates: u64,
}

impl Channel {
    /// Makes the observer for what `interest` says, and the consumer's end of the channel.
    ///
    /// `capacity` counts batches of 1 to 64 events. What finds the channel full is lost and counted as failed. With
    /// capacity 0 a batch only gets through while the consumer is waiting for it.
    #[must_use]
    pub fn new(interest: Interest, capacity: usize) -> (Channel, Receiver<Events>) {
        let (sender, receiver) = crossbeam_channel::bounded(capacity);
        (Channel { interest, sender, report: ChannelReport::default() }, receiver)
    }
}

impl Observer for Channel {
    type Report = ChannelReport;

    fn interest(&self) -> Interest {
        self.interest
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        let len = batch.len();
        let mut events = Events { records: Vec::with_capacity(len), verdicts: Vec::with_capacity(len) };
        for (record, verdict) in batch.iter() {
            events.records.push(*record);
            events.verdicts.push(*verdict);
        }
        let new = events.verdicts.iter().filter(|verdict| **verdict == Verdict::New).count() as u64;
        let duplicates = len as u64 - new;
        let reason = match self.sender.try_send(events) {
            Ok(()) => {
                self.report.sent += new;
                self.report.sent_duplicates += duplicates;
                return Ok(());
            }
            Err(TrySendError::Full(_)) => "the channel is full; give it more room or read it faster",
            Err(TrySendError::Disconnected(_)) => "the receiving end of the channel is gone",
        };
        self.report.lost += new;
        self.report.lost_duplicates += duplicates;
        Err(Undelivered { events: new, reason: reason.to_owned() })
    }

    fn report(&self) -> ChannelReport {
        self.report
    }
}

impl Events {
    /// Returns the records.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Iterates over the records and their verdicts.
    pub fn iter(&self) -> impl Iterator<Item = (&Record, &Verdict)> {
        self.records.iter().zip(&self.verdicts)
    }

    /// Returns how many events there are; at least one.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.records.len()
    }
}

impl Report for ChannelReport {
    fn merge(&mut self, other: ChannelReport) {
        self.sent += other.sent;
        self.lost += other.lost;
        self.sent_duplicates += other.sent_duplicates;
        self.lost_duplicates += other.lost_duplicates;
    }
}
