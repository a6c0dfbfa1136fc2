//! Pcapng: blocks of a type, a length, a body and the length again, in sections of one byte order each.

use super::fault::CaptureFault;
use super::located::{ByteOrder, CaptureCounts, Fault, Located, truncated};
use super::window::Window;
use crate::ingest::link::LinkType;
use std::io::Read;

/// Type of the block that starts a section; it reads the same in both byte orders.
pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const OPTION_TSRESOL: u16 = 9;
const OPTION_TSOFFSET: u16 = 14;
const INTERFACES_MAX: usize = 65_536;

/// Finds the packets of a pcapng file.
pub(super) struct PcapNgFraming {
    order: ByteOrder,
    /// Those of the current section.
    interfaces: Vec<Interface>,
    block_len_max: usize,
}

impl PcapNgFraming {
    pub(super) fn new(block_len_max: usize) -> PcapNgFraming {
        PcapNgFraming { order: ByteOrder { big_endian: false }, interfaces: Vec::new(), block_len_max }
    }

    #[inline]
    pub(super) fn next<R: Read>(
        &mut self,
        window: &mut Window<R>,
        counts: &mut CaptureCounts,
    ) -> Result<Option<Located>, Fault> {
        loop {
            let offset = window.offset();
            let Some((kind, block_len)) = self.block_header(window, offset)? else {
                return Ok(None);
            };
            let block = window.peek(block_len).map_err(|error| (offset, error.into()))?;
            if block.len() < block_len {
                return Err(truncated("block", offset, block.len(), block_len));
            }
            let located = self.block(kind, block, offset, counts).map_err(|fault| (offset, fault))?;
            window.consume(block_len);
            if located.is_some() {
                return Ok(located);
            }
        }
    }

    /// Reads the type and length of the block at `offset`; turns the byte order where a section starts.
    #[inline]
    fn block_header<R: Read>(
        &mut self,
        window: &mut Window<R>,
        offset: u64,
    ) -> Result<Option<(u32, usize)>, Fault> {
        let found = window.peek(8).map_err(|error| (offset, error.into()))?;
        let (Some(&kind), Some(&len)) = (found.first_chunk(), found.get(4..).and_then(<[u8]>::first_chunk))
        else {
            if found.is_empty() {
                return Ok(None);
            }
            return Err(truncated("block header", offset, found.len(), 8));
        };
        if u32::from_le_bytes(kind) == SECTION_HEADER {
            self.order = section_order(window, offset)?;
        }
        let kind = self.order.u32(kind);
        let len = self.order.u32(len);
        let bad_length =
            |rule| Err((offset, CaptureFault::BadLength { what: name(kind), len: len.into(), rule }));
        if len < len_min(kind) {
            return bad_length("it is shorter than its fixed fields");
        }
        if !len.is_multiple_of(4) {
            return bad_length("block lengths are multiples of 4");
        }
        if len as usize > self.block_len_max {
            let limit = self.block_len_max as u64;
            return Err((offset, CaptureFault::TooLong { what: name(kind), len: len.into(), limit }));
        }
        Ok(Some((kind, len as usize)))
    }

    /// Reads one whole block.
    #[inline]
    fn block(
        &mut self,
        kind: u32,
        block: &[u8],
        offset: u64,
        counts: &mut CaptureCounts,
    ) -> Result<Option<Located>, CaptureFault> {
        let order = self.order;
        let len_again = order.u32_at(block, block.len() - 4);
        if len_again as usize != block.len() {
            return Err(CaptureFault::BadLength {
                what: name(kind),
                len: len_again.into(),
                rule: "the lengths at its two ends differ",
            });
        }
        match kind {
            ENHANCED_PACKET => self.packet(order.u32_at(block, 8), block, offset, counts).map(Some),
            PACKET => self.packet(order.u16_at(block, 8).into(), block, offset, counts).map(Some),
            SIMPLE_PACKET => self.simple_packet(block, offset, counts).map(Some),
            INTERFACE_DESCRIPTION => self.interface_description(block).map(|()| None),
            SECTION_HEADER => self.section_header(block).map(|()| None),
            _ => {
                counts.blocks_skipped += 1;
                Ok(None)
            }
        }
    }

    fn section_header(&mut self, block: &[u8]) -> Result<(), CaptureFault> {
        // The section's length is not used: the blocks themselves say where the next section starts.
        let (major, minor) = (self.order.u16_at(block, 12), self.order.u16_at(block, 14));
        // Minor 2 was written for a while; it means 0.
        if major != 1 || !matches!(minor, 0 | 2) {
            return Err(CaptureFault::UnsupportedVersion { format: "pcapng", major, minor });
        }
        self.interfaces.clear();
        Ok(())
    }

    fn interface_description(&mut self, block: &[u8]) -> Result<(), CaptureFault> {
        if self.interfaces.len() == INTERFACES_MAX {
            return Err(CaptureFault::TooManyInterfaces { limit: INTERFACES_MAX });
        }
        let mut interface = Interface {
            link: LinkType(self.order.u16_at(block, 8)),
            snaplen: self.order.u32_at(block, 12),
            unit: Unit::of_resolution(6),
            offset_s: 0,
        };
        let mut options = block.get(16..block.len() - 4).unwrap_or_default();
        while let Some((code, value, rest)) = option(self.order, options)? {
            let len = value.len() as u64;
            let bad_length =
                |rule| CaptureFault::BadLength { what: "interface description's option", len, rule };
            match code {
                OPTION_TSRESOL => {
                    let &[resolution] = value else {
                        return Err(bad_length("a time resolution has 1 byte"));
                    };
                    interface.unit = Unit::of_resolution(resolution);
                }
                OPTION_TSOFFSET => {
                    let &[a, b, c, d, e, f, g, h] = value else {
                        return Err(bad_length("a time offset has 8 bytes"));
                    };
                    let bytes = [a, b, c, d, e, f, g, h];
                    interface.offset_s = if self.order.big_endian {
                        i64::from_be_bytes(bytes)
                    } else {
                        i64::from_le_bytes(bytes)
                    };
                }
                _ => {}
            }
            options = rest;
        }
        self.interfaces.push(interface);
        Ok(())
    }

    fn interface(&self, number: u32) -> Result<&Interface, CaptureFault> {
        let described = self.interfaces.len();
        self.interfaces
            .get(number as usize)
            .ok_or(CaptureFault::UnknownInterface { interface: number, described })
    }

    /// Reads an Enhanced or an obsolete Packet Block: they differ in the interface's number only.
    #[inline]
    fn packet(
        &self,
        interface: u32,
        block: &[u8],
        offset: u64,
        counts: &mut CaptureCounts,
    ) -> Result<Located, CaptureFault> {
        const DATA_AT: usize = 28;
        let interface = self.interface(interface)?;
        let units = u64::from(self.order.u32_at(block, 12)) << 32 | u64::from(self.order.u32_at(block, 16));
        let captured_len = self.order.u32_at(block, 20);
        let back = block.len() - DATA_AT;
        if captured_len as usize > back - 4 {
            return Err(packet_overflows(captured_len));
        }
        let (time_ns, clamped) = interface.time_ns(units);
        counts.times_clamped += u64::from(clamped);
        Ok(Located {
            time_ns,
            wire_len: self.order.u32_at(block, 24),
            link: interface.link,
            offset,
            back,
            len: captured_len as usize,
        })
    }

    /// Reads a Simple Packet Block: of the first interface, without a time, cut at the snapshot length.
    fn simple_packet(
        &self,
        block: &[u8],
        offset: u64,
        counts: &mut CaptureCounts,
    ) -> Result<Located, CaptureFault> {
        const DATA_AT: usize = 12;
        let interface = self.interface(0)?;
        let wire_len = self.order.u32_at(block, 8);
        let captured_len = match interface.snaplen {
            0 => wire_len,
            snaplen => wire_len.min(snaplen),
        };
        let back = block.len() - DATA_AT;
        if captured_len as usize > back - 4 {
            return Err(packet_overflows(captured_len));
        }
        counts.times_missing += 1;
        Ok(Located { time_ns: 0, wire_len, link: interface.link, offset, back, len: captured_len as usize })
    }
}

/// What packets need to know of their interface.
struct Interface {
    link: LinkType,
    snaplen: u32,
    unit: Unit,
    offset_s: i64,
}

impl Interface {
    /// Turns a time stamp into nanoseconds since the epoch, and tells whether it had to be clamped.
    #[inline]
    fn time_ns(&self, units: u64) -> (u64, bool) {
        if let (Unit::Nanoseconds(ns), 0) = (self.unit, self.offset_s)
            && let Some(time_ns) = units.checked_mul(ns)
        {
            return (time_ns, false);
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
            Ok(time_ns) => (time_ns, false),
            Err(_) => (if time_ns < 0 { 0 } else { u64::MAX }, true),
        }
    }
}

/// The unit of an interface's time stamps.
#[derive(Clone, Copy)]
enum Unit {
    /// So many nanoseconds.
    Nanoseconds(u64),
    /// A nanosecond divided by so many.
    Fraction(i128),
    /// A second divided by two to this power.
    PowerOfTwo(u32),
}

impl Unit {
    /// Reads `if_tsresol`: an exponent of a tenth, or of a half when the top bit is set.
    fn of_resolution(resolution: u8) -> Unit {
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

/// Reads the byte order from the section header at `offset`.
fn section_order<R: Read>(window: &mut Window<R>, offset: u64) -> Result<ByteOrder, Fault> {
    let found = window.peek(12).map_err(|error| (offset, error.into()))?;
    let Some(&magic) = found.get(8..).and_then(|rest| rest.first_chunk::<4>()) else {
        return Err(truncated("section header", offset, found.len(), 12));
    };
    match (u32::from_le_bytes(magic), u32::from_be_bytes(magic)) {
        (BYTE_ORDER_MAGIC, _) => Ok(ByteOrder { big_endian: false }),
        (_, BYTE_ORDER_MAGIC) => Ok(ByteOrder { big_endian: true }),
        (magic, _) => Err((offset, CaptureFault::BadByteOrder { magic })),
    }
}

/// An option's code and value, and the options after it.
type Options<'a> = Option<(u16, &'a [u8], &'a [u8])>;

/// Splits the first option off; `None` at the end of the options.
fn option(order: ByteOrder, options: &[u8]) -> Result<Options<'_>, CaptureFault> {
    let Some((header, rest)) = options.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let (code, len) = (order.u16_at(header, 0), usize::from(order.u16_at(header, 2)));
    if code == 0 {
        return Ok(None);
    }
    match rest.split_at_checked(len) {
        Some((value, rest)) => {
            let padding = (len.next_multiple_of(4) - len).min(rest.len());
            Ok(Some((code, value, &rest[padding..])))
        }
        None => Err(CaptureFault::BadLength {
            what: "interface description's option",
            len: len as u64,
            rule: "it reaches past its block",
        }),
    }
}

#[cold]
fn packet_overflows(captured_len: u32) -> CaptureFault {
    CaptureFault::BadLength {
        what: "captured packet",
        len: captured_len.into(),
        rule: "it reaches past its block",
    }
}

/// Returns the bytes that a block of this type has at least.
#[inline]
fn len_min(kind: u32) -> u32 {
    match kind {
        SECTION_HEADER => 28,
        INTERFACE_DESCRIPTION => 20,
        PACKET | ENHANCED_PACKET => 32,
        SIMPLE_PACKET => 16,
        _ => 12,
    }
}

fn name(kind: u32) -> &'static str {
    match kind {
        SECTION_HEADER => "section header block",
        INTERFACE_DESCRIPTION => "interface description block",
        PACKET => "packet block",
        ENHANCED_PACKET => "enhanced packet block",
        SIMPLE_PACKET => "simple packet block",
        _ => "block",
    }
}
