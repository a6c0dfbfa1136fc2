//! Pcapng: blocks of a type, a length, a body and the length again, in sections of one byte order each.

use super::fault::CaptureFault;
use super::interface::{Drops, Interface, Unit};
use super::located::{ByteOrder, CaptureCounts, Fault, Located, Stamp, truncated};
use super::window::Window;
use crate::ingest::link::{Direction, LinkType};
use std::io::Read;

/// Type of the block that starts a section; it reads the same in both byte orders.
pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const OPTION_TSRESOL: u16 = 9;
const OPTION_TSOFFSET: u16 = 14;
/// Of Enhanced and obsolete Packet Blocks.
const OPTION_FLAGS: u16 = 2;
/// Of Enhanced Packet Blocks.
const OPTION_DROPCOUNT: u16 = 4;
const OPTION_STARTTIME: u16 = 2;
const OPTION_ENDTIME: u16 = 3;
const OPTION_IFDROP: u16 = 5;
const OPTION_OSDROP: u16 = 7;
const INTERFACES_MAX: usize = 65_536;

/// Finds the packets of a pcapng file.
pub(super) struct PcapNgFraming {
    order: ByteOrder,
    /// Those of the current section.
    interfaces: Vec<Interface>,
    /// Packets that all interfaces, also those of sections before, are said to have dropped.
    dropped: u128,
    block_len_max: usize,
}

impl PcapNgFraming {
    pub(super) fn new(block_len_max: usize) -> PcapNgFraming {
        let order = ByteOrder { big_endian: false };
        PcapNgFraming { order, interfaces: Vec::new(), dropped: 0, block_len_max }
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
            ENHANCED_PACKET => self.packet(kind, order.u32_at(block, 8), block, offset, counts).map(Some),
            PACKET => self.packet(kind, order.u16_at(block, 8).into(), block, offset, counts).map(Some),
            SIMPLE_PACKET => self.simple_packet(block, offset, counts).map(Some),
            INTERFACE_DESCRIPTION => self.interface_description(block).map(|()| None),
            SECTION_HEADER => self.section_header(block).map(|()| None),
            INTERFACE_STATISTICS if self.statistics(block, counts) => Ok(None),
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
        let link = LinkType(self.order.u16_at(block, 8));
        let mut interface = Interface::new(link, self.order.u32_at(block, 12));
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
                    let Some(offset_s) = u64_of(self.order, value) else {
                        return Err(bad_length("a time offset has 8 bytes"));
                    };
                    interface.offset_s = offset_s.cast_signed();
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

    /// Changes what an interface is known to have dropped, and what all have.
    fn count_drops(&mut self, interface: u32, counts: &mut CaptureCounts, change: impl FnOnce(&mut Drops)) {
        let Some(interface) = self.interfaces.get_mut(interface as usize) else { return };
        let before = interface.drops.told().unwrap_or(0);
        change(&mut interface.drops);
        if let Some(now) = interface.drops.told() {
            self.dropped = self.dropped.saturating_sub(before.into()).saturating_add(now.into());
            counts.capture_dropped = Some(u64::try_from(self.dropped).unwrap_or(u64::MAX));
        }
    }

    /// Reads an Interface Statistics Block; `false` where it has no room for its fixed fields, or is of an unknown interface. What
    /// it tells is not needed to read packets, so no fault of it ends the reading.
    fn statistics(&mut self, block: &[u8], counts: &mut CaptureCounts) -> bool {
        const OPTIONS_AT: usize = 20;
        let number = self.order.u32_at(block, 8);
        let (Some(interface), Some(mut options)) =
            (self.interfaces.get(number as usize), block.get(OPTIONS_AT..block.len() - 4))
        else {
            return false;
        };
        let order = self.order;
        let (mut by_interface, mut by_system) = (None, None);
        loop {
            let Ok(found) = option(order, options) else {
                counts.options_malformed += 1;
                break;
            };
            let Some((code, value, rest)) = found else { break };
            options = rest;
            if !matches!(code, OPTION_STARTTIME | OPTION_ENDTIME | OPTION_IFDROP | OPTION_OSDROP) {
                continue;
            }
            let Some(number) = u64_of(order, value) else {
                counts.options_malformed += 1;
                break;
            };
            let (began_ns, ended_ns) = &mut counts.captured_ns;
            match (code, interface.stamp(units_of(order, value))) {
                (OPTION_IFDROP, _) => by_interface = Some(number),
                (OPTION_OSDROP, _) => by_system = Some(number),
                (_, Stamp::At(0)) => {}
                (OPTION_STARTTIME, Stamp::At(ns)) => {
                    *began_ns = Some(began_ns.map_or(ns, |least| least.min(ns)))
                }
                (OPTION_ENDTIME, Stamp::At(ns)) => *ended_ns = Some(ended_ns.map_or(ns, |most| most.max(ns))),
                _ => {}
            }
        }
        self.count_drops(number, counts, |drops| {
            drops.by_interface = by_interface.or(drops.by_interface);
            drops.by_system = by_system.or(drops.by_system);
        });
        true
    }

    /// Reads an Enhanced or an obsolete Packet Block: they differ in how wide the interface's number is, and in where the number of
    /// packets stands that were dropped before.
    #[inline]
    fn packet(
        &mut self,
        kind: u32,
        number: u32,
        block: &[u8],
        offset: u64,
        counts: &mut CaptureCounts,
    ) -> Result<Located, CaptureFault> {
        const DATA_AT: usize = 28;
        let interface = self.interface(number)?;
        let units = u64::from(self.order.u32_at(block, 12)) << 32 | u64::from(self.order.u32_at(block, 16));
        let captured_len = self.order.u32_at(block, 20);
        let back = block.len() - DATA_AT;
        if captured_len as usize > back - 4 {
            return Err(packet_overflows(captured_len));
        }
        let (link, stamp) = (interface.link, interface.stamp(units));
        if kind == PACKET {
            match self.order.u16_at(block, 10) {
                // It is not known.
                u16::MAX => {}
                dropped => self.add_dropped(number, dropped.into(), counts),
            }
        }
        let options_at = DATA_AT + (captured_len as usize).next_multiple_of(4);
        let direction = match block.get(options_at..block.len() - 4) {
            None | Some([]) => None,
            Some(options) => self.packet_options(kind, number, options, counts),
        };
        Ok(Located {
            time_ns: counts.time_ns(stamp),
            wire_len: self.order.u32_at(block, 24),
            link,
            direction,
            interface: number,
            offset,
            back,
            len: captured_len as usize,
        })
    }

    /// Adds packets that were dropped between this one of the interface and the one before.
    fn add_dropped(&mut self, interface: u32, dropped: u64, counts: &mut CaptureCounts) {
        self.count_drops(interface, counts, |drops| {
            drops.before_packets = Some(drops.before_packets.unwrap_or(0).saturating_add(dropped));
        });
    }

    /// Reads a packet's options, and returns which way it went. Packets are read without them, so no fault of theirs ends the reading.
    fn packet_options(
        &mut self,
        kind: u32,
        interface: u32,
        mut options: &[u8],
        counts: &mut CaptureCounts,
    ) -> Option<Direction> {
        let order = self.order;
        let mut direction = None;
        loop {
            let Ok(found) = option(order, options) else {
                counts.options_malformed += 1;
                return direction;
            };
            let Some((code, value, rest)) = found else { return direction };
            options = rest;
            match code {
                OPTION_FLAGS => {
                    let Some(flags) = value.try_into().ok().map(|bytes| order.u32(bytes)) else {
                        counts.options_malformed += 1;
                        return direction;
                    };
                    direction = match flags & 3 {
                        1 => Some(Direction::Received),
                        2 => Some(Direction::Sent),
                        _ => None,
                    };
                }
                OPTION_DROPCOUNT if kind == ENHANCED_PACKET => {
                    let Some(dropped) = u64_of(order, value) else {
                        counts.options_malformed += 1;
                        return direction;
                    };
                    self.add_dropped(interface, dropped, counts);
                }
                _ => {}
            }
        }
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
        Ok(Located {
            time_ns: counts.time_ns(Stamp::Absent),
            wire_len,
            link: interface.link,
            direction: None,
            interface: 0,
            offset,
            back,
            len: captured_len as usize,
        })
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

/// Reads a number of 64 bits; `None` where the value has another length.
fn u64_of(order: ByteOrder, value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(|bytes| order.u64(bytes))
}

/// Reads a time stamp: its high half comes first, in either byte order.
fn units_of(order: ByteOrder, value: &[u8]) -> u64 {
    u64::from(order.u32_at(value, 0)) << 32 | u64::from(order.u32_at(value, 4))
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
