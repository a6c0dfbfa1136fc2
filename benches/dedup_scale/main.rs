//! Measures the deduplication at the sizes that matter, and prints a table.
//!
//! `cargo bench --bench dedup_scale -- [part ...] [--millions N | --ids N] [--rounds N]`, with parts `floor`, `new`, `grow`,
//! `mixed`, `peer`, `window`, `filter`, `spill`, `spill-off`; all but the last when none is given. Ids are made from records
//! as they come from an emitter: hashing is in every figure, making the records is in none. Every part checks its counts.
#![allow(clippy::unwrap_used, reason = "a measurement may fail")]
#![allow(clippy::print_stdout, reason = "printing is what this program is for")]
#![allow(unsafe_code, reason = "the thread's processor time")]

mod filter;

use filter::BloomFilter;
use panther_events::dedup::{BATCH, BUDGET_MIN, Dedup, DedupOptions, ExactSet, FilterUse, Verdict, Window};
use panther_events::event::{
    Domain, EventKind, Field, FieldType, Identity, Origin, Payload, Record, Shared, Symbol,
};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

/// Records that are made at once, outside the time measured: 256 KiB.
const BLOCK: usize = 4096;
/// Of which the records are.
const ORIGIN: Origin = Origin::from_bits(7);

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Number(u64);

impl Payload for Number {
    const KIND: EventKind = EventKind::new(Domain::PACKET, 1);
    const FIELDS: &'static [Field] =
        &[Field { name: Shared::Static("number"), ty: FieldType::U64, offset: 0 }];
}

fn record(number: u64) -> Record {
    let identity = if number & 1 == 0 { Identity::Content } else { Identity::Occurrence };
    Record::new(identity, number, Symbol::from_bits(number % 1000), &Number(number)).numbered(3, 9)
}

/// Returns the processor time this thread has used: on a shared machine the figure that can be repeated.
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

struct Run {
    time: Duration,
    new: u64,
    checked: u64,
    slowest: Duration,
}

impl Run {
    fn per_second(&self) -> f64 {
        self.checked as f64 / self.time.as_secs_f64() / 1e6
    }
}

/// Checks the records of `numbers`; `timed` measures each batch too.
fn run(dedup: &mut Dedup, numbers: impl Iterator<Item = u64>, timed: bool) -> Run {
    let mut numbers = numbers.peekable();
    let mut records = Vec::with_capacity(BLOCK);
    let mut verdicts = [Verdict::New; BATCH];
    let mut run = Run { time: Duration::ZERO, new: 0, checked: 0, slowest: Duration::ZERO };
    while numbers.peek().is_some() {
        records.clear();
        records.extend(numbers.by_ref().take(BLOCK).map(record));
        run.checked += records.len() as u64;
        let start = thread_time();
        let mut last = start;
        for batch in records.chunks_mut(BATCH) {
            run.new += u64::from(dedup.check(batch, &mut verdicts).count_ones());
            if timed {
                let now = thread_time();
                run.slowest = run.slowest.max(now - last);
                last = now;
            }
        }
        run.time += thread_time() - start;
    }
    run
}

fn dedup(expected_ids: u64, first_sightings: bool, window: Window) -> Dedup {
    let options = DedupOptions {
        window,
        first_sightings,
        expected_ids: expected_ids as usize,
        ..DedupOptions::default()
    };
    Dedup::new(&options).unwrap().with_origin(ORIGIN)
}

#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("ids are hashed as one number")
    }
    fn write_u128(&mut self, id: u128) {
        self.0 = id as u64 ^ (id >> 64) as u64;
    }
}

type Peer = HashSet<u128, BuildHasherDefault<IdHasher>>;

fn run_peer(peer: &mut Peer, numbers: impl Iterator<Item = u64>) -> Run {
    let mut numbers = numbers.peekable();
    let mut records = Vec::with_capacity(BLOCK);
    let mut run = Run { time: Duration::ZERO, new: 0, checked: 0, slowest: Duration::ZERO };
    while numbers.peek().is_some() {
        records.clear();
        records.extend(numbers.by_ref().take(BLOCK).map(record));
        run.checked += records.len() as u64;
        let start = thread_time();
        for record in &records {
            run.new += u64::from(peer.insert(record.id_in(ORIGIN).bits()));
        }
        run.time += thread_time() - start;
    }
    run
}

/// A number below `bound` that looks random, for the `i`th lookup.
fn shuffled(i: u64, bound: u64) -> u64 {
    let mixed = (i ^ (i >> 17)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((u128::from(mixed ^ (mixed >> 29)) * u128::from(bound)) >> 64) as u64
}

/// Returns a number below `bound` as a hash would give it. One multiplication is not enough here: its results are spread so
/// evenly that the page tables stay in the cache.
fn scattered(i: u64, bound: u64) -> u64 {
    let once = (i ^ (i >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let twice = (once ^ (once >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    ((u128::from(twice ^ (twice >> 33)) * u128::from(bound)) >> 64) as u64
}

/// Says what the machine gives at this moment: 64 lines of a table of this size are prefetched, then written to.
fn part_floor(sizes: &[u64], rounds: usize) {
    println!("the floor: one line of a table of as many ids (20.5 B each) fetched and written, 64 at a time");
    for &size in sizes {
        let lines = size as usize * 41 / 2 / 64;
        let mut map = memmap2::MmapMut::map_anon(lines * 64 + (4 << 20)).unwrap();
        let start = map.as_ptr().align_offset(2 << 20);
        let _ = map.advise(memmap2::Advice::HugePage);
        let table: &mut [[u64; 8]] = bytemuck::cast_slice_mut(&mut map[start..start + lines * 64]);
        table.iter_mut().for_each(|line| line[0] = 1);
        for _ in 0..rounds {
            let count = 4_000_000u64;
            let time = thread_time();
            let wall = Instant::now();
            for batch in 0..count / 64 {
                let places: [usize; 64] =
                    std::array::from_fn(|i| scattered(batch * 64 + i as u64, lines as u64) as usize);
                for &place in &places {
                    #[cfg(target_arch = "x86_64")]
                    {
                        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
                        let address = table.as_ptr().wrapping_add(place).cast::<i8>();
                        // SAFETY: a prefetch faults on no address.
                        unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
                    }
                }
                for &place in &places {
                    table[place][place & 7] += 1;
                }
            }
            let (time, wall) = ((thread_time() - time).as_secs_f64(), wall.elapsed().as_secs_f64());
            println!(
                "{size:>10} {:>8.1} ns of processor time, {:>8.1} ns by the clock",
                time * 1e9 / count as f64,
                wall * 1e9 / count as f64
            );
        }
    }
}

fn part_new(sizes: &[u64], rounds: usize) {
    println!("new ids into a presized set, then the same ids again in other order");
    println!(
        "{:>10} {:>9} {:>12} {:>12} {:>9} {:>6}",
        "ids", "sightings", "new M/s", "known M/s", "B/id", "huge"
    );
    for &size in sizes {
        for sightings in [false, true] {
            for _ in 0..rounds {
                let mut dedup = dedup(size, sightings, Window::Unbounded);
                let new = run(&mut dedup, 0..size, false);
                assert_eq!(new.new, size);
                let count = size.clamp(1_000_000, 20_000_000);
                let known = run(&mut dedup, (0..count).map(|i| shuffled(i, size)), false);
                assert_eq!(known.new, 0);
                let stats = dedup.stats();
                println!(
                    "{size:>10} {sightings:>9} {:>12.1} {:>12.1} {:>9.1} {:>5.0}%",
                    new.per_second(),
                    known.per_second(),
                    stats.memory_bytes as f64 / size as f64,
                    100.0 * stats.huge_page_bytes as f64 / stats.memory_bytes as f64
                );
            }
        }
    }
}

fn part_grow(sizes: &[u64], rounds: usize) {
    println!("growth from nothing; the slowest batch of 64, in processor time");
    println!(
        "{:>10} {:>9} {:>10} {:>12} {:>8} {:>8} {:>8} {:>7}",
        "ids", "sightings", "new M/s", "slowest us", "B/id", "B/id max", "moves", "overflowed"
    );
    for &size in sizes {
        for sightings in [false, true] {
            for _ in 0..rounds {
                let mut plain = dedup(0, sightings, Window::Unbounded);
                let rate = run(&mut plain, 0..size, false).per_second();
                drop(plain);
                let mut dedup = dedup(0, sightings, Window::Unbounded);
                let mut slowest = Duration::ZERO;
                let mut most = 0.0f64;
                let step = size / 50;
                for part in 0..50 {
                    let part = run(&mut dedup, part * step..(part + 1) * step, true);
                    assert_eq!(part.new, step);
                    slowest = slowest.max(part.slowest);
                    let stats = dedup.stats();
                    if stats.remembered > 1_000_000 {
                        most = most.max(stats.memory_bytes as f64 / stats.remembered as f64);
                    }
                }
                let stats = dedup.stats();
                println!(
                    "{size:>10} {sightings:>9} {rate:>10.1} {:>12.0} {:>8.1} {most:>8.1} {:>8} {:>7}",
                    slowest.as_secs_f64() * 1e6,
                    stats.memory_bytes as f64 / stats.remembered as f64,
                    stats.growths,
                    stats.overflowed
                );
            }
        }
    }
}

fn part_peer(sizes: &[u64], rounds: usize) {
    println!(
        "against std's HashSet (hashbrown), identity hasher, presized, hashing included; alternating rounds"
    );
    println!(
        "{:>10} {:>10} {:>10} {:>7} {:>12} {:>12} {:>7}",
        "ids", "new M/s", "peer M/s", "ratio", "known M/s", "peer M/s", "ratio"
    );
    for &size in sizes {
        for _ in 0..rounds {
            let count = size.min(10_000_000);
            let lookups = || (0..count).map(|i| shuffled(i, size));
            let mut ours = dedup(size, false, Window::Unbounded);
            let new = run(&mut ours, 0..size, false);
            let known = run(&mut ours, lookups(), false);
            drop(ours);
            let mut peer = Peer::with_capacity_and_hasher(size as usize, BuildHasherDefault::default());
            let peer_new = run_peer(&mut peer, 0..size);
            let peer_known = run_peer(&mut peer, lookups());
            assert_eq!((new.new, peer_new.new, known.new, peer_known.new), (size, size, 0, 0));
            println!(
                "{size:>10} {:>10.1} {:>10.1} {:>7.2} {:>12.1} {:>12.1} {:>7.2}",
                new.per_second(),
                peer_new.per_second(),
                new.per_second() / peer_new.per_second(),
                known.per_second(),
                peer_known.per_second(),
                known.per_second() / peer_known.per_second()
            );
        }
    }
}

fn part_window(sizes: &[u64], rounds: usize) {
    println!("windows of the last n ids, 8 epochs, after 2 n ids; then 3 n new ids");
    println!(
        "{:>10} {:>9} {:>10} {:>12} {:>8} {:>8}",
        "n", "sightings", "new M/s", "slowest us", "B/id", "moves"
    );
    for &size in sizes {
        for sightings in [false, true] {
            for _ in 0..rounds {
                let mut dedup = dedup(0, sightings, Window::Last(size));
                run(&mut dedup, 0..2 * size, false);
                let plain = run(&mut dedup, 2 * size..5 * size, false);
                let timed = run(&mut dedup, 5 * size..8 * size, true);
                assert_eq!((plain.new, timed.new), (3 * size, 3 * size));
                let stats = dedup.stats();
                assert!(stats.remembered >= size && stats.remembered <= size + size.div_ceil(8));
                println!(
                    "{size:>10} {sightings:>9} {:>10.1} {:>12.0} {:>8.1} {:>8}",
                    plain.per_second(),
                    timed.slowest.as_secs_f64() * 1e6,
                    stats.memory_bytes as f64 / stats.remembered as f64,
                    stats.growths
                );
            }
        }
    }
}

fn part_mixed(sizes: &[u64], rounds: usize) {
    println!("duplicates among new ids, presized: share of duplicates and M/s");
    for &size in sizes {
        for _ in 0..rounds {
            let mut line = format!("{size:>10}");
            for percent in [0u64, 50, 90, 99] {
                let mut dedup = dedup(size + size / 8, false, Window::Unbounded);
                run(&mut dedup, 0..size, false);
                let count = (size / 8 * 100 / (100 - percent)).min(4_000_000);
                let (numbers, made) = mixed(size, percent, count);
                let mixed = run(&mut dedup, numbers.into_iter(), false);
                assert_eq!(mixed.new, made);
                line += &format!("  {percent:>2} %: {:>6.1}", mixed.per_second());
            }
            println!("{line}");
        }
    }
}

/// Record `i` of a stream in which `percent` of the records repeat one of the `known` first, and the others count on from
/// there.
fn mixed(known: u64, percent: u64, count: u64) -> (Vec<u64>, u64) {
    let mut made = 0;
    let numbers = (0..count).map(|i| {
        if shuffled(i * 7 + 1, 100) < percent {
            return shuffled(i, known);
        }
        made += 1;
        known + made - 1
    });
    (numbers.collect(), made)
}

fn part_filter(sizes: &[u64], rounds: usize) {
    println!(
        "a Bloom filter in front of the set in memory, M/s without and with, by the share of duplicates"
    );
    for &size in sizes.iter().filter(|size| **size <= 20_000_000) {
        let count = (size / 8).clamp(100_000, 2_000_000);
        let mut set = ExactSet::new((size + 4 * count) as usize * rounds, false).unwrap();
        let mut filter = BloomFilter::new((size + 4 * count) as usize * rounds).unwrap();
        for first in (0..size).step_by(BATCH) {
            let ids: Vec<_> =
                (first..(first + 64).min(size)).map(|number| record(number).id_in(ORIGIN)).collect();
            set.insert_batch(&ids, &[], &mut []);
            filter.insert_batch(&ids);
        }
        let mut next = size;
        for percent in [0, 50, 90, 99] {
            let mut rates = [0.0; 2];
            for _ in 0..rounds {
                for with_filter in [false, true] {
                    let (numbers, made) = mixed(size, percent, count);
                    let ids: Vec<_> = numbers
                        .iter()
                        .map(|&number| {
                            record(if number < size { number } else { number - size + next }).id_in(ORIGIN)
                        })
                        .collect();
                    next += made;
                    let (mut new, mut negatives) = (0, 0);
                    let start = thread_time();
                    for batch in ids.chunks(BATCH) {
                        if with_filter {
                            negatives +=
                                batch.len() as u64 - u64::from(filter.may_contain_batch(batch).count_ones());
                        }
                        let mask = set.insert_batch(batch, &[], &mut []);
                        if with_filter && mask != 0 {
                            let fresh: Vec<_> =
                                (0..batch.len()).filter(|i| mask >> i & 1 != 0).map(|i| batch[i]).collect();
                            filter.insert_batch(&fresh);
                        }
                        new += u64::from(mask.count_ones());
                    }
                    let time = (thread_time() - start).as_secs_f64();
                    assert_eq!(new, made);
                    assert!(negatives <= made);
                    rates[usize::from(with_filter)] += count as f64 / time / 1e6 / rounds as f64;
                }
            }
            println!("{size:>10} {percent:>3} %: without {:>6.1}, with {:>6.1}", rates[0], rates[1]);
        }
    }
}

fn part_spill(sizes: &[u64], rounds: usize) {
    spill(sizes, rounds, FilterUse::Auto);
}

fn part_spill_off(sizes: &[u64], rounds: usize) {
    spill(sizes, rounds, FilterUse::Off);
}

fn spill(sizes: &[u64], rounds: usize, filter: FilterUse) {
    println!(
        "a budget of a tenth of what the ids need at 27 B each; then 2 M records by the share of cold duplicates"
    );
    for &size in sizes {
        for _ in 0..rounds {
            let dir = tempfile::tempdir().unwrap();
            let budget = (size as usize * 27 / 10).max(BUDGET_MIN);
            let options = DedupOptions {
                first_sightings: false,
                memory_budget_bytes: Some(budget),
                spill_dir: Some(dir.path().to_path_buf()),
                filter,
                ..DedupOptions::default()
            };
            let mut dedup = Dedup::new(&options).unwrap();
            let fifths: Vec<Run> = (0..5)
                .map(|part| run(&mut dedup, part * (size / 5)..(part + 1) * (size / 5), false))
                .collect();
            assert!(fifths.iter().all(|fifth| fifth.new == size / 5));
            let stats = dedup.stats();
            let time = fifths.iter().map(|fifth| fifth.time.as_secs_f64()).sum::<f64>();
            println!(
                "{size:>10} {filter:?}: new {:.2} M/s ({}); {:.0} MB of {:.0} held, {:.0} MB on disk, {:.2} reads \
                 in vain for 100",
                size as f64 / time / 1e6,
                fifths
                    .iter()
                    .map(|fifth| format!("{:.2}", fifth.per_second()))
                    .collect::<Vec<_>>()
                    .join(", "),
                stats.memory_bytes as f64 / 1e6,
                budget as f64 / 1e6,
                stats.spilled_bytes as f64 / 1e6,
                100.0 * stats.filter_false_positives as f64 / size as f64
            );
            let mut known = size;
            // Without filters it takes long: fewer records tell the rate.
            let ways = [(FilterUse::Auto, 2_000_000), (FilterUse::Off, 40_000)];
            for (filter, most) in ways.into_iter().skip(usize::from(filter == FilterUse::Off)) {
                dedup.set_filter(filter);
                let count = (size / 50).min(most);
                for percent in [0, 10, 50, 90, 99] {
                    let (numbers, made) = mixed(known, percent, count);
                    let part = run(&mut dedup, numbers.into_iter(), false);
                    assert_eq!(part.new, made);
                    known += made;
                    println!("{filter:>8?} {percent:>12} % cold duplicates: {:>8.4} M/s", part.per_second());
                }
            }
            assert_eq!((dedup.stats().spill_read_failures, dedup.stats().spill_write_failures), (0, 0));
        }
    }
}

/// Measures at some sizes, each so many times.
type Part = fn(&[u64], usize);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let rounds = value("--rounds").unwrap_or(3) as usize;
    let sizes: Vec<u64> = match value("--ids").or(value("--millions").map(|millions| millions * 1_000_000)) {
        Some(size) => vec![size],
        None => vec![1_000_000, 20_000_000, 100_000_000],
    };
    let parts: [(&str, Part); 9] = [
        ("floor", part_floor),
        ("new", part_new),
        ("grow", part_grow),
        ("mixed", part_mixed),
        ("peer", part_peer),
        ("window", part_window),
        ("filter", part_filter),
        ("spill", part_spill),
        ("spill-off", part_spill_off),
    ];
    let chosen = |name: &str| arguments.iter().any(|argument| argument == name);
    let all = !parts.iter().any(|(name, _)| chosen(name));
    for (name, part) in parts {
        // Without filters, 100 M ids take an hour: only when asked for.
        if all && name != "spill-off" || chosen(name) {
            part(&sizes, rounds);
        }
    }
}
