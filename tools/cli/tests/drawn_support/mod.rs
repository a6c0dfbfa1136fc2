//! Draws what happens to packets on a path, and what captures along it show of it.

use std::fs;
use std::path::{Path, PathBuf};

/// When the first packet is sent, in nanoseconds since 1970.
const BEGIN_NS: i64 = 1_700_000_000_000_000_000;

/// Random numbers that a seed determines (Steele, Lea and Flood: SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn chance(&mut self, of: f64) -> bool {
        self.share() < of
    }

    /// From `least` to `most`.
    fn within(&mut self, least: i64, most: i64) -> i64 {
        least + (self.next() % (most - least + 1) as u64) as i64
    }

    /// As [`Random::within`], as many small ones as large ones.
    fn scaled(&mut self, least: i64, most: i64) -> i64 {
        let (least, most) = ((least as f64).ln(), (most as f64).ln());
        (least + (most - least) * self.share()).exp() as i64
    }
}

/// What happens on one hop in one direction.
#[derive(Clone, Debug)]
struct Link {
    delay_ns: i64,
    jitter_ns: i64,
    loss: f64,
    duplication: f64,
    /// Some packets take this much longer.
    detour: f64,
    detour_ns: i64,
}

/// What a clock shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) offset_ns: i64,
    pub(crate) drift_ppm: f64,
}

impl Clock {
    fn stamp(self, time_ns: i64) -> i64 {
        let drift = (time_ns - BEGIN_NS) as f64 * self.drift_ppm / 1e6;
        time_ns + self.offset_ns + drift.round() as i64
    }
}

/// A sighting: of which packet, when it truly was, and by the clock there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) packet: usize,
    pub(crate) time_ns: i64,
    pub(crate) stamp_ns: i64,
}

/// A vantage point: its clock, what it captured, and when it did.
#[derive(Clone, Debug)]
pub(crate) struct Vantage {
    pub(crate) name: String,
    pub(crate) clock: Clock,
    pub(crate) window_ns: (i64, i64),
    /// In order of time.
    pub(crate) seen: Vec<Seen>,
    /// When packets of another conversation passed, that no other vantage point saw.
    pub(crate) other_ns: Vec<i64>,
    hops: u8,
}

impl Vantage {
    pub(crate) fn is_whole(&self) -> bool {
        self.window_ns == (i64::MIN, i64::MAX)
    }

    /// The first and the last time at which it saw anything.
    pub(crate) fn span_ns(&self) -> Option<(i64, i64)> {
        let times = || self.seen.iter().map(|seen| seen.time_ns).chain(self.other_ns.iter().copied());
        times().min().zip(times().max())
    }
}

/// A packet: the way it goes, and where it was lost.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) is_back: bool,
    pub(crate) len: usize,
    pub(crate) ttl: u8,
    /// Of no copy of it there was more behind that vantage point, in the order of its way.
    pub(crate) lost_behind: Option<usize>,
}

/// A path with two hosts at its ends, and what happened on it.
#[derive(Debug)]
pub(crate) struct Draw {
    pub(crate) seed: u64,
    pub(crate) packets: Vec<Packet>,
    /// In the order in which packets pass them there.
    pub(crate) vantages: Vec<Vantage>,
    /// In which order they are given.
    pub(crate) order: Vec<usize>,
    /// Stamps are of microseconds.
    pub(crate) is_coarse: bool,
    pub(crate) has_hops: bool,
    is_raw: bool,
    links: Vec<[Link; 2]>,
}

impl Draw {
    pub(crate) fn new(seed: u64) -> Draw {
        let mut random = Random::new(seed);
        let hops = random.within(1, 3) as usize;
        let is_one_way = random.chance(0.1);
        // Where packets go one way, only the time to live tells which one it is.
        let has_hops = is_one_way || random.chance(0.5);
        let span_ns = random.scaled(200_000_000, 5_000_000_000);
        let links: Vec<[Link; 2]> = (0..hops).map(|_| [link(&mut random), link(&mut random)]).collect();
        let has_windows = random.chance(0.4);
        let clocks = random.within(0, 3);
        let mut vantages = Vec::new();
        for at in 0..=hops {
            let (mut from, mut to) = (i64::MIN, i64::MAX);
            if has_windows && random.chance(0.4) {
                from = BEGIN_NS + (span_ns as f64 * random.share() * 0.25) as i64;
            }
            if has_windows && random.chance(0.4) {
                to = BEGIN_NS + (span_ns as f64 * (1.0 - random.share() * 0.25)) as i64;
            }
            vantages.push(Vantage {
                name: format!("v{at}"),
                clock: clock(&mut random, clocks),
                window_ns: (from, to),
                seen: Vec::new(),
                other_ns: Vec::new(),
                hops: if has_hops { at as u8 } else { 0 },
            });
        }
        let is_coarse = random.chance(0.2);
        let mut draw = Draw {
            seed,
            packets: Vec::new(),
            vantages,
            order: (0..=hops).collect(),
            is_coarse,
            has_hops,
            is_raw: random.chance(0.3),
            links,
        };
        for is_back in [false, true] {
            if is_back && is_one_way {
                continue;
            }
            let packets = random.within(50, 300);
            for _ in 0..packets {
                let sent_ns = BEGIN_NS + (span_ns as f64 * random.share()) as i64;
                draw.send(&mut random, is_back, sent_ns);
            }
        }
        for at in [0, hops] {
            if random.chance(0.2) {
                for _ in 0..random.within(1, 60) {
                    let time_ns = BEGIN_NS + (span_ns as f64 * random.share()) as i64;
                    let vantage = &mut draw.vantages[at];
                    if (vantage.window_ns.0..=vantage.window_ns.1).contains(&time_ns) {
                        vantage.other_ns.push(time_ns);
                    }
                }
            }
        }
        for vantage in &mut draw.vantages {
            vantage.seen.sort_by_key(|seen| seen.time_ns);
        }
        for at in (1..draw.order.len()).rev() {
            draw.order.swap(at, random.within(0, at as i64) as usize);
        }
        draw
    }

    /// Sends a packet along the path.
    fn send(&mut self, random: &mut Random, is_back: bool, sent_ns: i64) {
        let packet = self.packets.len();
        let vantages = self.vantages.len();
        let (len, ttl) = (random.within(8, 600) as usize, random.within(32, 255) as u8);
        self.packets.push(Packet { is_back, len, ttl, lost_behind: None });
        let mut copies = vec![sent_ns];
        for at in 0..vantages {
            let vantage = if is_back { vantages - 1 - at } else { at };
            for time_ns in &copies {
                self.see(vantage, packet, *time_ns);
            }
            if at + 1 == vantages {
                break;
            }
            let link = &self.links[if is_back { vantage - 1 } else { vantage }][usize::from(is_back)];
            // A packet that was duplicated is neither lost nor duplicated again: which of its copies was, no capture tells.
            let is_one = copies.len() == 1;
            if is_one && random.chance(link.loss) {
                self.packets[packet].lost_behind = Some(vantage);
                return;
            }
            if is_one && random.chance(link.duplication) {
                copies.push(copies[0]);
            }
            for time_ns in &mut copies {
                *time_ns += link.delay_ns + random.within(0, link.jitter_ns);
                if random.chance(link.detour) {
                    *time_ns += link.detour_ns;
                }
            }
        }
    }

    fn see(&mut self, vantage: usize, packet: usize, time_ns: i64) {
        let is_coarse = self.is_coarse;
        let vantage = &mut self.vantages[vantage];
        let stamp_ns = vantage.clock.stamp(time_ns);
        let stamp_ns = if is_coarse { stamp_ns / 1000 * 1000 } else { stamp_ns };
        if (vantage.window_ns.0..=vantage.window_ns.1).contains(&time_ns) {
            vantage.seen.push(Seen { packet, time_ns, stamp_ns });
        }
    }

    /// Tells whether all captures looked all the time.
    pub(crate) fn is_whole(&self) -> bool {
        self.vantages.iter().all(Vantage::is_whole)
    }

    pub(crate) fn has_right_clocks(&self) -> bool {
        self.vantages.iter().all(|vantage| vantage.clock.offset_ns == 0 && vantage.clock.drift_ppm == 0.0)
    }

    /// Says what was drawn, in few lines.
    pub(crate) fn describe(&self) -> String {
        let vantages = self.vantages.iter().map(|vantage| {
            let (from, to) = vantage.window_ns;
            let ms = |time_ns: i64| (time_ns as f64 - BEGIN_NS as f64) / 1e6;
            let span = vantage.span_ns().map(|(first, last)| (ms(first), ms(last)));
            format!(
                "  {}: {} seen, {} others, {:?}, from {} to {} ms, seen {span:?}",
                vantage.name,
                vantage.seen.len(),
                vantage.other_ns.len(),
                vantage.clock,
                if from == i64::MIN { f64::NEG_INFINITY } else { ms(from) },
                if to == i64::MAX { f64::INFINITY } else { ms(to) },
            )
        });
        let vantages: Vec<String> = vantages.collect();
        let links: Vec<String> = self.links.iter().map(|link| format!("  {link:?}")).collect();
        format!(
            "seed {} (coarse {}, hops {}, order {:?})\n{}\n{}",
            self.seed,
            self.is_coarse,
            self.has_hops,
            self.order,
            vantages.join("\n"),
            links.join("\n")
        )
    }

    /// Writes a capture for each vantage point, and returns them in the order in which they are to be given.
    pub(crate) fn write(&self, dir: &Path) -> Vec<(String, PathBuf)> {
        let write = |at: &usize| {
            let path = dir.join(format!("{}.pcap", self.vantages[*at].name));
            fs::write(&path, self.capture(*at)).unwrap();
            (self.vantages[*at].name.clone(), path)
        };
        self.order.iter().map(write).collect()
    }

    fn capture(&self, at: usize) -> Vec<u8> {
        let vantage = &self.vantages[at];
        let magic: u32 = if self.is_coarse { 0xa1b2_c3d4 } else { 0xa1b2_3c4d };
        let mut out = Vec::new();
        for word in [magic, 0x0004_0002, 0, 0, 65535, if self.is_raw { 101 } else { 1 }] {
            out.extend(word.to_le_bytes());
        }
        let others = vantage.other_ns.iter().enumerate().map(|(number, time_ns)| {
            let third = 0x0a00_0063 + at as u32;
            (
                vantage.clock.stamp(*time_ns),
                self.packet(0x0a00_0001, third, 64, (1 << 32) + number as u64, 20),
            )
        });
        let path = vantage.seen.iter().map(|seen| {
            let packet = &self.packets[seen.packet];
            let (src, dst) =
                if packet.is_back { (0x0a00_0002, 0x0a00_0001) } else { (0x0a00_0001, 0x0a00_0002) };
            let last = self.vantages.last().map_or(0, |vantage| vantage.hops);
            let hops = if packet.is_back { last - vantage.hops } else { vantage.hops };
            (seen.stamp_ns, self.packet(src, dst, packet.ttl - hops, seen.packet as u64, packet.len))
        });
        let mut all: Vec<(i64, Vec<u8>)> = path.chain(others).collect();
        // Stable: what was seen in one moment stays in its order.
        all.sort_by_key(|(stamp_ns, _)| *stamp_ns);
        let unit = if self.is_coarse { 1000 } else { 1 };
        for (stamp_ns, packet) in all {
            let len = packet.len() as u32;
            let (seconds, fraction) =
                (stamp_ns.div_euclid(1_000_000_000), stamp_ns.rem_euclid(1_000_000_000) / unit);
            for word in [seconds as u32, fraction as u32, len, len] {
                out.extend(word.to_le_bytes());
            }
            out.extend(packet);
        }
        out
    }

    /// A frame with a UDP packet whose payload is that of no other number.
    fn packet(&self, src: u32, dst: u32, ttl: u8, number: u64, len: usize) -> Vec<u8> {
        let mut payload = Random::new(self.seed ^ number.wrapping_mul(0x0123_4567_89ab_cdef));
        let payload: Vec<u8> = (0..len).map(|_| payload.next() as u8).collect();
        let mut udp = Vec::new();
        for half in [4000_u16, 5000, 8 + len as u16, 0] {
            udp.extend(half.to_be_bytes());
        }
        udp.extend(&payload);
        let mut pseudo = [src.to_be_bytes(), dst.to_be_bytes()].concat();
        pseudo.extend([0, 17]);
        pseudo.extend((udp.len() as u16).to_be_bytes());
        pseudo.extend(&udp);
        // Zero says that there is none.
        let sum = Some(checksum(&pseudo)).filter(|sum| *sum != 0).unwrap_or(0xffff);
        udp[6..8].copy_from_slice(&sum.to_be_bytes());
        let mut ip = vec![0x45, 0];
        ip.extend((20 + udp.len() as u16).to_be_bytes());
        ip.extend((number as u16).to_be_bytes());
        ip.extend([0x40, 0, ttl, 17, 0, 0]);
        ip.extend(src.to_be_bytes());
        ip.extend(dst.to_be_bytes());
        let sum = checksum(&ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        let mut frame = Vec::new();
        if !self.is_raw {
            frame.extend([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
        }
        frame.extend(ip);
        frame.extend(udp);
        frame
    }
}

fn link(random: &mut Random) -> Link {
    let delay_ns = random.scaled(20_000, 30_000_000);
    let rare = |random: &mut Random, most: f64| if random.chance(0.4) { 0.0 } else { most * random.share() };
    Link {
        delay_ns,
        jitter_ns: if random.chance(0.2) { 0 } else { (delay_ns as f64 * random.share()) as i64 },
        loss: rare(random, 0.15),
        duplication: rare(random, 0.05),
        detour: rare(random, 0.03),
        detour_ns: delay_ns,
    }
}

/// Right, or off by up to 1 ms, 1 s or 3 h, and half of them drifting.
fn clock(random: &mut Random, kind: i64) -> Clock {
    let most_ns = match kind {
        0 => return Clock { offset_ns: 0, drift_ppm: 0.0 },
        1 => 1_000_000,
        2 => 1_000_000_000,
        _ => 10_800_000_000_000,
    };
    let offset_ns = random.within(-most_ns, most_ns);
    let drift_ppm = if random.chance(0.5) { 400.0 * random.share() - 200.0 } else { 0.0 };
    Clock { offset_ns, drift_ppm }
}

/// The checksum of IP (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}
