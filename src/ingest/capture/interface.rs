//! What a pcapng file tells of an interface: its link layer, how its stamps count, and what it dropped.

use super::located::Stamp;
use crate::ingest::link::LinkType;

/// An interface of the current section.
pub(super) struct Interface {
    pub(super) link: LinkType,
    pub(super) snaplen: u32,
    pub(super) unit: Unit,
    pub(super) offset_s: i64,
    pub(super) drops: Drops,
}

impl Interface {
    /// Makes an interface with the time stamps that it has where its description says nothing of them: microseconds since the epoch.
    pub(super) fn new(link: LinkType, snaplen: u32) -> Interface {
        Interface { link, snaplen, unit: Unit::of_resolution(6), offset_s: 0, drops: Drops::default() }
    }

    /// Turns a time stamp into nanoseconds since the epoch.
    #[inline]
    pub(super) fn stamp(&self, units: u64) -> Stamp {
        if let (Unit::Nanoseconds(ns), 0) = (self.unit, self.offset_s)
            && let Some(time_ns) = units.checked_mul(ns)
        {
            return Stamp::At(time_ns);
        }
        let units = i128::from(units);
        let since = match self.unit {
            Unit::Nanoseconds(ns) => units * i128::from(ns),
            Unit::Fraction(per_ns) => units / per_ns,
            Unit::PowerOfTwo(exponent) => (units * 1_000_000_000) >> exponent,
        };
        // 2^94 at most plus 2^93: far from overflow.
        let time_ns = since + i128::from(self.offset_s) * 1_000_000_000;
        match u64::try_from(time_ns) {
            Ok(time_ns) => Stamp::At(time_ns),
            Err(_) if time_ns < 0 => Stamp::Before1970,
            Err(_) => Stamp::FarFuture,
        }
    }
}

/// The unit of an interface's time stamps.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    /// So many nanoseconds.
    Nanoseconds(u64),
    /// A nanosecond divided by so many.
    Fraction(i128),
    /// A second divided by two to this power.
    PowerOfTwo(u32),
}

impl Unit {
    /// Reads `if_tsresol`: an exponent of a tenth, or of a half when the top bit is set.
    pub(super) fn of_resolution(resolution: u8) -> Unit {
        let exponent = u32::from(resolution & 0x7f);
        if resolution & 0x80 != 0 {
            return Unit::PowerOfTwo(exponent);
        }
        match exponent {
            0..=9 => Unit::Nanoseconds(10u64.pow(9 - exponent)),
            // Of units too fine for the divisor, 2^64 are less than a nanosecond: all such times are 0.
            _ => Unit::Fraction(10i128.checked_pow(exponent - 9).unwrap_or(i128::MAX)),
        }
    }
}

/// Packets that an interface is said to have dropped.
#[derive(Clone, Copy, Default)]
pub(super) struct Drops {
    /// `isb_ifdrop` of the last statistics: since the capture began.
    pub(super) by_interface: Option<u64>,
    /// `isb_osdrop` of the last statistics: since the capture began.
    pub(super) by_system: Option<u64>,
    /// Sum of what packets say was dropped between each of them and the one before.
    pub(super) before_packets: Option<u64>,
}

impl Drops {
    /// Returns how many were dropped; `None` where nothing tells. Statistics, where there are any, know of those packets too that
    /// were dropped after the last that was captured.
    pub(super) fn told(&self) -> Option<u64> {
        match (self.by_interface, self.by_system) {
            (None, None) => self.before_packets,
            (interface, system) => Some(interface.unwrap_or(0).saturating_add(system.unwrap_or(0))),
        }
    }
}
