//! Reading, decoding and digesting a capture of 900-byte packets, from the page cache.
//!
//! The capture is generated (64 MiB) unless `INGEST_BENCH_CAPTURE` names one. Each stage is checked before it
//! is timed: every stage must see every packet, and no digest may be refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench checks its result and prints it"
)]
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has to stop")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use panther_events::ingest::{CaptureReader, Coverage, Decoded, PacketDigest};
use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};

const PACKETS: usize = 75_000;
const PACKET_LEN: usize = 886;

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Read,
    Decode,
    Digest,
}

/// What one pass over the capture found.
#[derive(Default, PartialEq, Debug)]
struct Pass {
    frames: u64,
    ip: u64,
    digests: u64,
    refused: u64,
    /// So that no stage can be optimised away.
    mixed: u128,
}

fn pass(path: &Path, stage: Stage) -> Pass {
    let digest = PacketDigest::new(Coverage::Whole);
    let mut reader = CaptureReader::open(path).expect("the capture opens");
    let mut pass = Pass::default();
    while let Some(frame) = reader.next().expect("the capture is whole") {
        pass.frames += 1;
        if stage == Stage::Read {
            pass.mixed ^= u128::from(frame.time_ns) ^ frame.data.len() as u128;
            continue;
        }
        let Decoded::Ip(packet) = frame.decode() else { continue };
        pass.ip += 1;
        if stage == Stage::Decode {
            pass.mixed ^= u128::from(packet.flow().ports().map_or(0, |(from, _)| from));
            continue;
        }
        match digest.digest(&packet) {
            Ok(id) => {
                pass.digests += 1;
                pass.mixed ^= id.bits();
            }
            Err(_) => pass.refused += 1,
        }
    }
    pass
}

fn generate(path: &Path) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).expect("a file"));
    let mut header = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header.extend(262_144u32.to_le_bytes());
    header.extend(1u32.to_le_bytes());
    file.write_all(&header).expect("written");
    let mut frame = vec![0u8; 14 + PACKET_LEN];
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&(PACKET_LEN as u16).to_be_bytes());
    frame[22..24].copy_from_slice(&[64, 17]);
    for (at, byte) in frame.iter_mut().enumerate().skip(42) {
        *byte = at as u8;
    }
    for n in 0..PACKETS as u32 {
        frame[18..20].copy_from_slice(&(n as u16).to_be_bytes());
        frame[50..54].copy_from_slice(&n.to_be_bytes());
        for word in [n, 0, frame.len() as u32, frame.len() as u32] {
            file.write_all(&word.to_le_bytes()).expect("written");
        }
        file.write_all(&frame).expect("written");
    }
    file.flush().expect("written");
}

fn ingest(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let given = std::env::var_os("INGEST_BENCH_CAPTURE").map(PathBuf::from);
    let path = given.clone().unwrap_or_else(|| {
        let path = folder.path().join("generated.pcap");
        generate(&path);
        path
    });

    let whole = pass(&path, Stage::Digest);
    assert_eq!(whole.refused, 0, "the capture cuts packets");
    assert_eq!(whole.digests, whole.ip);
    assert_eq!(pass(&path, Stage::Decode).ip, whole.ip);
    assert_eq!(pass(&path, Stage::Read).frames, whole.frames);
    if given.is_none() {
        assert_eq!((whole.frames, whole.ip), (PACKETS as u64, PACKETS as u64));
    }

    let mut group = criterion.benchmark_group("ingest");
    group.sample_size(20).throughput(Throughput::Elements(whole.frames));
    for (name, stage) in
        [("read", Stage::Read), ("read+decode", Stage::Decode), ("read+decode+digest", Stage::Digest)]
    {
        group.bench_with_input(BenchmarkId::from_parameter(name), &stage, |bencher, &stage| {
            bencher.iter(|| black_box(pass(&path, stage)));
        });
    }
    group.finish();
}

criterion_group!(benches, ingest);
criterion_main!(benches);
