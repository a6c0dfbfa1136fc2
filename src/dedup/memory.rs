//! Cache lines in huge pages: where the tables live.
//!
//! Small tables are ordinary heap memory. Large ones are anonymous mappings, aligned to 2 MiB; their pages cost nothing
//! until they are first touched and can be given back from the front while the rest is still in use.
//!
//! Huge pages are asked for where memory is touched before the work begins. A table that fills while records wait is
//! first touched in small pages ([`Pages`]): clearing a huge page takes the kernel a tenth of a millisecond, but in a
//! virtual machine whose host has to find the memory first it was measured to take 6 to 16 ms.
//!
//! One of the two files of the set with `unsafe`: giving pages back, and the prefetch instruction.
#![allow(unsafe_code, reason = "madvise(MADV_DONTNEED) and the prefetch instruction have no safe form")]

use bytemuck::Pod;
use memmap2::MmapMut;
use std::io;

/// Bytes of a huge page.
pub(super) const HUGE_PAGE: usize = 2 << 20;

/// Bytes from which memory is mapped: an allocator may clear all of it before it gives it out.
const MAPPED_MIN: usize = 128 << 10;

/// A number of zeroed cache lines of type `T`, each 64 bytes.
pub(super) struct Lines<T> {
    storage: Storage<T>,
}

enum Storage<T> {
    Heap(Vec<T>),
    Mapped { map: MmapMut, start: usize, bytes: usize, released: usize },
}

/// In which pages memory is first touched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pages {
    /// In huge ones: fewest misses in address translation, and the longest single wait.
    Huge,
    /// In small ones, each of which is a short wait. The kernel may merge them after [`Lines::merge_pages`].
    Small,
}

impl<T: Pod> Lines<T> {
    /// Holds no line and no memory.
    pub(super) const fn empty() -> Lines<T> {
        Lines { storage: Storage::Heap(Vec::new()) }
    }

    /// Makes `count` zeroed lines.
    pub(super) fn zeroed(count: usize, pages: Pages) -> io::Result<Lines<T>> {
        const { assert!(size_of::<T>() == 64 && align_of::<T>() == 64) };
        let bytes = count.checked_mul(64).ok_or(io::ErrorKind::OutOfMemory)?;
        if bytes < MAPPED_MIN {
            let lines = bytemuck::try_zeroed_vec(count).map_err(|()| io::ErrorKind::OutOfMemory)?;
            return Ok(Lines { storage: Storage::Heap(lines) });
        }
        let padded = bytes.checked_add(HUGE_PAGE).ok_or(io::ErrorKind::OutOfMemory)?;
        let map = MmapMut::map_anon(padded)?;
        let start = map.as_ptr().align_offset(HUGE_PAGE);
        #[cfg(target_os = "linux")]
        if pages == Pages::Huge {
            // Refused only where the kernel has no huge pages; what it really gave is counted later.
            let _ = map.advise(memmap2::Advice::HugePage);
        } else {
            // A kernel may be set to give huge pages to all.
            let _ = map.advise(memmap2::Advice::NoHugePage);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = pages;
        Ok(Lines { storage: Storage::Mapped { map, start, bytes, released: 0 } })
    }

    /// Returns the lines; those given back read as zero.
    #[inline]
    pub(super) fn as_slice(&self) -> &[T] {
        match &self.storage {
            Storage::Heap(lines) => lines,
            Storage::Mapped { map, start, bytes, .. } => {
                map.get(*start..start + bytes).map_or(&[], bytemuck::cast_slice)
            }
        }
    }

    /// Returns the lines for writing.
    #[inline]
    pub(super) fn as_mut_slice(&mut self) -> &mut [T] {
        match &mut self.storage {
            Storage::Heap(lines) => lines,
            Storage::Mapped { map, start, bytes, .. } => {
                map.get_mut(*start..*start + *bytes).map_or(&mut [], bytemuck::cast_slice_mut)
            }
        }
    }

    /// Touches every page now, so that no later write waits for the kernel.
    pub(super) fn touch(&mut self) {
        for line in self.as_mut_slice().iter_mut().step_by(4096 / 64) {
            *line = T::zeroed();
        }
    }

    /// Lets the kernel merge small pages into huge ones, in its own time.
    pub(super) fn merge_pages(&self) {
        #[cfg(target_os = "linux")]
        if let Storage::Mapped { map, .. } = &self.storage {
            // Refused only where the kernel has no huge pages.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
    }

    /// Gives the memory of the first `count` lines back to the system, in whole huge pages.
    pub(super) fn release_front(&mut self, count: usize) {
        let Storage::Mapped { map, start, bytes, released } = &mut self.storage else { return };
        let end = (count * 64).min(*bytes) / HUGE_PAGE * HUGE_PAGE;
        if end <= *released {
            return;
        }
        #[cfg(unix)]
        {
            // SAFETY: the range lies within a private anonymous mapping that nothing borrows, as `self` is
            // borrowed mutably; its pages read as zero afterwards, which is a valid `T`.
            let given = unsafe {
                map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    *start + *released,
                    end - *released,
                )
            };
            if given.is_ok() {
                *released = end;
            }
        }
        #[cfg(not(unix))]
        let _ = (map, start);
    }

    /// Returns the bytes of memory held: those of pages not yet touched count, those given back do not.
    pub(super) fn bytes(&self) -> usize {
        match &self.storage {
            Storage::Heap(lines) => lines.capacity() * 64,
            Storage::Mapped { bytes, released, .. } => bytes - released,
        }
    }

    /// Returns the addresses that lie in a mapping, or `None` for heap memory.
    pub(super) fn mapped_range(&self) -> Option<std::ops::Range<usize>> {
        match &self.storage {
            Storage::Heap(_) => None,
            Storage::Mapped { map, start, bytes, .. } => {
                let first = map.as_ptr() as usize + start;
                Some(first..first + bytes)
            }
        }
    }
}

/// Asks the processor to fetch the line at `index`; does nothing where there is none.
#[inline(always)]
pub(super) fn prefetch<T>(lines: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let address = lines.as_ptr().wrapping_add(index).cast::<i8>();
        // SAFETY: a prefetch reads nothing that the program can see and faults on no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (lines, index);
}

/// Counts the bytes of `ranges` that lie in huge pages, by `/proc/self/smaps`; 0 where there is no such file.
pub(super) fn huge_page_bytes(ranges: &[std::ops::Range<usize>]) -> usize {
    if ranges.is_empty() {
        return 0;
    }
    let Ok(maps) = std::fs::read_to_string("/proc/self/smaps") else { return 0 };
    let mut inside = false;
    let mut total = 0;
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next() else { continue };
        if let Some((from, to)) = first.split_once('-') {
            let bounds = (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16));
            if let (Ok(from), Ok(to)) = bounds {
                inside = ranges.iter().any(|range| range.start < to && from < range.end);
            }
        } else if inside && first == "AnonHugePages:" {
            total += words.next().and_then(|kib| kib.parse::<usize>().ok()).unwrap_or(0) * 1024;
        }
    }
    total
}
