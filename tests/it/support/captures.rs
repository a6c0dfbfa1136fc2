//! Writers of captures in every variant, and a random generator whose seed is printed.
#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod packets;

use panther_events::ingest::capture::{CaptureOptions, CaptureReader};
use panther_events::ingest::{CaptureError, Direction, Frame, LinkType};

/// A frame that outlives its reader.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Packet {
    pub(crate) time_ns: u64,
    pub(crate) wire_len: u32,
    pub(crate) link: LinkType,
    pub(crate) direction: Option<Direction>,
    pub(crate) interface: u32,
    pub(crate) data: Vec<u8>,
    pub(crate) offset: u64,
}

impl From<Frame<'_>> for Packet {
    fn from(frame: Frame<'_>) -> Packet {
        let Frame { time_ns, wire_len, link, direction, interface, data, offset } = frame;
        Packet { time_ns, wire_len, link, direction, interface, data: data.to_vec(), offset }
    }
}

/// Reads a capture in memory to its end or first error, through a buffer far smaller than the capture.
pub(crate) fn read_all(bytes: &[u8]) -> (Vec<Packet>, Result<(), CaptureError>) {
    let options = CaptureOptions { buffer_bytes: 64, block_len_max: 1 << 20 };
    let mut packets = Vec::new();
    let mut reader = match CaptureReader::new(bytes, "memory", options) {
        Ok(reader) => reader,
        Err(error) => return (packets, Err(error)),
    };
    loop {
        match reader.next() {
            Ok(Some(frame)) => packets.push(frame.into()),
            Ok(None) => return (packets, Ok(())),
            Err(error) => {
                assert!(matches!(reader.next(), Ok(None)), "a reader that failed is at its end");
                return (packets, Err(error));
            }
        }
    }
}

/// Writes integers in one byte order.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    pub(crate) big_endian: bool,
}

impl Order {
    pub(crate) fn u16(self, value: u16) -> [u8; 2] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(crate) fn u32(self, value: u32) -> [u8; 4] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(crate) fn i64(self, value: i64) -> [u8; 8] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }
}

/// Writes a classic pcap file.
pub(crate) struct PcapWriter {
    pub(crate) bytes: Vec<u8>,
    order: Order,
}

impl PcapWriter {
    pub(crate) fn new(big_endian: bool, nanoseconds: bool, link: u32, snaplen: u32) -> PcapWriter {
        let order = Order { big_endian };
        let mut bytes = Vec::new();
        bytes.extend(order.u32(if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 }));
        bytes.extend(order.u16(2));
        bytes.extend(order.u16(4));
        bytes.extend([0; 8]);
        bytes.extend(order.u32(snaplen));
        bytes.extend(order.u32(link));
        PcapWriter { bytes, order }
    }

    pub(crate) fn packet(&mut self, seconds: u32, fraction: u32, wire_len: u32, data: &[u8]) {
        for word in [seconds, fraction, data.len() as u32, wire_len] {
            self.bytes.extend(self.order.u32(word));
        }
        self.bytes.extend(data);
    }
}

/// Writes a pcapng file.
pub(crate) struct PcapNgWriter {
    pub(crate) bytes: Vec<u8>,
    pub(crate) order: Order,
}

impl PcapNgWriter {
    pub(crate) fn new(big_endian: bool) -> PcapNgWriter {
        let mut writer = PcapNgWriter { bytes: Vec::new(), order: Order { big_endian } };
        writer.section(big_endian, 0);
        writer
    }

    /// Writes a block with a body that is padded to four bytes.
    pub(crate) fn block(&mut self, kind: u32, body: &[u8]) {
        let len = self.order.u32(12 + body.len().next_multiple_of(4) as u32);
        self.bytes.extend(self.order.u32(kind));
        self.bytes.extend(len);
        self.bytes.extend(body);
        self.bytes.extend(vec![0; body.len().next_multiple_of(4) - body.len()]);
        self.bytes.extend(len);
    }

    pub(crate) fn section(&mut self, big_endian: bool, minor: u16) {
        self.order = Order { big_endian };
        let order = self.order;
        let body =
            [&order.u32(0x1a2b_3c4d)[..], &order.u16(1), &order.u16(minor), &order.i64(-1)[..]].concat();
        self.block(0x0a0d_0d0a, &body);
    }

    /// Returns an option, padded.
    pub(crate) fn option(&self, code: u16, value: &[u8]) -> Vec<u8> {
        let mut option = [&self.order.u16(code)[..], &self.order.u16(value.len() as u16), value].concat();
        option.resize(option.len().next_multiple_of(4), 0);
        option
    }

    pub(crate) fn interface(&mut self, link: u16, snaplen: u32, options: &[u8]) {
        let order = self.order;
        let body = [&order.u16(link)[..], &[0, 0], &order.u32(snaplen), options].concat();
        self.block(1, &body);
    }

    pub(crate) fn enhanced(
        &mut self,
        interface: u32,
        units: u64,
        wire_len: u32,
        data: &[u8],
        options: &[u8],
    ) {
        let interface = self.order.u32(interface);
        self.timed(6, interface, units, wire_len, data, options);
    }

    /// Writes an obsolete Packet Block.
    pub(crate) fn obsolete(&mut self, interface: u16, units: u64, wire_len: u32, data: &[u8]) {
        let [a, b] = self.order.u16(interface);
        let [c, d] = self.order.u16(3); // packets dropped before it
        self.timed(2, [a, b, c, d], units, wire_len, data, &[]);
    }

    /// Writes an Interface Statistics Block.
    pub(crate) fn statistics(&mut self, interface: u32, options: &[u8]) {
        let order = self.order;
        let body = [&order.u32(interface)[..], &[0; 8], options].concat();
        self.block(5, &body);
    }

    /// Returns an option that is a number of 64 bits.
    pub(crate) fn number(&self, code: u16, number: u64) -> Vec<u8> {
        self.option(code, &self.order.i64(number.cast_signed()))
    }

    /// Returns an option that is a time stamp: its high half comes first in either byte order.
    pub(crate) fn stamp(&self, code: u16, units: u64) -> Vec<u8> {
        let (high, low) = (self.order.u32((units >> 32) as u32), self.order.u32(units as u32));
        self.option(code, &[high, low].concat())
    }

    fn timed(
        &mut self,
        kind: u32,
        interface: [u8; 4],
        units: u64,
        wire_len: u32,
        data: &[u8],
        options: &[u8],
    ) {
        let mut body = interface.to_vec();
        for word in [(units >> 32) as u32, units as u32, data.len() as u32, wire_len] {
            body.extend(self.order.u32(word));
        }
        body.extend(data);
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend(options);
        self.block(kind, &body);
    }

    pub(crate) fn simple(&mut self, wire_len: u32, data: &[u8]) {
        let body = [&self.order.u32(wire_len)[..], data].concat();
        self.block(3, &body);
    }
}

/// Returns a small capture with every kind of block, two sections and both byte orders.
pub(crate) fn rich_pcapng() -> Vec<u8> {
    let mut file = PcapNgWriter::new(false);
    let comment = file.option(1, b"a comment");
    let nanoseconds = [file.option(2, b"eth0"), file.option(9, &[9]), file.option(0, &[])].concat();
    file.interface(1, 0, &nanoseconds);
    file.interface(101, 96, &[]);
    file.enhanced(0, 1_700_000_000_000_000_001, 60, &[0xa1; 33], &comment);
    file.block(4, &[0; 8]); // names
    file.enhanced(1, 1_700_000_000_000_002, 4_000, &[0x45; 96], &[]);
    file.obsolete(1, 1_700_000_000_000_003, 21, &[0x45; 21]);
    file.simple(10, &[0xa2; 10]);
    file.section(true, 2);
    let resolution = file.option(9, &[0x80 | 10]);
    let offset = [resolution, file.option(14, &Order { big_endian: true }.i64(1_000))].concat();
    file.interface(113, 262_144, &offset);
    file.enhanced(0, 1_700_000_000 * 1024 + 512, 80, &[0xb1; 80], &[]);
    file.block(5, &[0; 12]); // statistics
    file.block(0x4000_0001, b"private"); // unknown
    file.enhanced(0, 1_700_000_001 * 1024, 5, &[0xb2; 5], &[]);
    file.bytes
}

/// Returns a small classic capture.
pub(crate) fn small_pcap(big_endian: bool, nanoseconds: bool) -> Vec<u8> {
    let mut file = PcapWriter::new(big_endian, nanoseconds, 1, 65_535);
    for n in 0..6u8 {
        file.packet(1_700_000_000, u32::from(n), 90, &vec![n; usize::from(n) * 13]);
    }
    file.bytes
}
