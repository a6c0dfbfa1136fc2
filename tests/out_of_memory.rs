//! Memory that is not given: at each allocation of the writers' that grows with what they are given, once. What they cannot take is
//! lost and counted, or an error; nothing is written wrong, and the process goes on. A program of its own: it has an allocator of its
//! own, and tries each place in a child.
#![cfg(all(target_os = "linux", feature = "journal", feature = "json"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "helpers of tests are tests")]
#![allow(unsafe_code, reason = "an allocator, and a fork, have no safe form")]

use panther_events::event::{Domain, EventKind, Identity, Record, Symbol};
use panther_events::journal::{Durability, JournalReader, JournalWriter, Options, ReadOptions, RunId};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;

/// Allocations under this many bytes are always given: what does not grow with the data is not what a machine runs out of.
const BYTES_MIN: usize = 1 << 10;

thread_local! {
    /// Allocations to be given before one is refused; counted on while it is not armed.
    static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    static REFUSED: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, that refuses one.
struct Refusing;

fn is_refused(bytes: usize) -> bool {
    if bytes < BYTES_MIN {
        return false;
    }
    let refused = LEFT.try_with(|left| match left.get() {
        Some(0) => {
            left.set(None);
            true
        }
        Some(more) => {
            left.set(Some(more - 1));
            false
        }
        None => false,
    });
    let refused = refused.unwrap_or(false);
    if refused {
        let _ = REFUSED.try_with(|count| count.set(count.get() + 1));
    }
    refused
}

// SAFETY: all of it is the system's allocator, or a refusal, which every caller must expect.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        if is_refused(layout.size()) { std::ptr::null_mut() } else { unsafe { System.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        if is_refused(layout.size()) { std::ptr::null_mut() } else { unsafe { System.alloc_zeroed(layout) } }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        if is_refused(bytes) { std::ptr::null_mut() } else { unsafe { System.realloc(old, layout, bytes) } }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

/// Runs `run` in a child in which the allocation behind the first `given` is refused; whether one was, or how the child ended.
fn in_child(given: u64, run: &dyn Fn()) -> Result<bool, String> {
    // SAFETY: the process has one thread, and the child ends without running what the parent would at its end.
    let child = unsafe { libc::fork() };
    if child == 0 {
        LEFT.set(Some(given));
        let returned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        LEFT.set(None);
        let code = if returned.is_err() { 2 } else { i32::from(REFUSED.get() > 0) };
        // SAFETY: as above.
        unsafe { libc::_exit(code) };
    }
    assert!(child > 0, "{}", std::io::Error::last_os_error());
    let mut status = 0;
    // SAFETY: the status is this function's.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    match (libc::WIFEXITED(status), libc::WEXITSTATUS(status)) {
        (true, code @ (0 | 1)) => Ok(code == 1),
        (true, code) => Err(format!("the child ended with {code}")),
        (false, _) => Err(format!("the child was ended by signal {}", libc::WTERMSIG(status))),
    }
}

/// Refuses each allocation of `run` in turn, until there is none left.
fn refuse_each(name: &str, run: &dyn Fn()) {
    let mut given = 0;
    loop {
        match in_child(given, run) {
            Ok(true) => given += 1,
            Ok(false) => break,
            Err(how) => panic!("{name}: allocation {given} refused: {how}"),
        }
    }
    eprintln!("{name}: each of {given} allocations refused");
    assert!(given > 0, "{name}: nothing was refused");
}

/// What is checked afterwards may have all the memory that it needs.
fn unarmed<T>(check: impl FnOnce() -> T) -> T {
    LEFT.set(None);
    check()
}

fn main() {
    refuse_each("journal", &|| journal(Options::new(Durability::Buffered)));
    refuse_each("journal, small segments", &|| {
        journal(Options {
            segment_len: 1 << 20,
            retain_bytes: Some(1 << 21),
            ..Options::new(Durability::ProcessCrash)
        });
    });
}

fn record(seq: u32) -> Record {
    let kind = EventKind::new(Domain::SERVICE, 0);
    Record::of_kind(
        kind,
        Identity::Occurrence,
        7,
        Symbol::of(&format!("name {seq}")),
        [0; Record::PAYLOAD_LEN],
    )
    .numbered(seq as u16 % 300, seq)
}

/// Writes records with names and documents of their own; the account is what is there to be read.
fn journal(options: Options) {
    let armed = LEFT.take();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    LEFT.set(armed);
    let Ok(mut writer) = JournalWriter::open(&path, RunId([1; 16]), options, 0) else { return };
    const RECORDS: u32 = 20_000;
    let (mut undefined, mut lost) = (0_u64, 0);
    for seq in 0..RECORDS {
        let name = format!("name {seq}");
        undefined += u64::from(writer.define(Symbol::of(&name), &name).is_err());
        lost += writer.append(&[record(seq)]).lost;
        if seq % 1_000 == 0 {
            writer.tick(u64::from(seq) * 1_000_000);
        }
    }
    let closed = writer.close();
    unarmed(|| {
        let account = match closed {
            Ok(account) => account,
            Err(error) => *error.account,
        };
        assert_eq!(account.offered, u64::from(RECORDS));
        assert_eq!(account.offered, account.stored + account.lost, "{account:?}");
        assert!(lost <= account.lost && undefined <= 1, "{lost} {undefined} {account:?}");
        check_read(&path, account.stored, undefined);
    });
}

/// What is stored can be read, in order, and all names but those that were refused are known.
fn check_read(path: &Path, stored: u64, undefined: u64) {
    let mut reader = JournalReader::open(path, ReadOptions::default()).unwrap();
    let (mut last, mut records, mut unknown) = (None, 0, 0);
    while let Some(block) = reader.next_block().unwrap() {
        let read = block.records().to_vec();
        for record in read {
            assert!(last < Some(record.seq()));
            last = Some(record.seq());
            records += 1;
            unknown += u64::from(reader.name(record.entity()).is_none());
        }
    }
    // What was retired is stored as well.
    assert!(
        records <= stored && unknown <= undefined,
        "{records} of {stored}, {unknown} names are not known"
    );
}
