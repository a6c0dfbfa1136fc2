//! A disk that is really full leaves the earlier result as it was, and the error says what to do.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use crate::support::skip::skip;
use panther_events::export::{DirError, FileError, Overwrite, ResultDir};
use std::io::{ErrorKind, Write};
use std::process::Command;

#[test]
fn a_full_filesystem_leaves_the_earlier_result_as_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
        .arg(temp.path())
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        skip("mount", "mounting a tmpfs is not permitted here");
        return;
    }
    let outcome = std::panic::catch_unwind(|| fill(temp.path()));
    assert!(Command::new("umount").arg(temp.path()).status().unwrap().success());
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

fn fill(disk: &std::path::Path) {
    let path = disk.join("run");
    let dir = ResultDir::create(&path, Overwrite::Refuse).unwrap();
    let mut file = dir.file("a.txt").unwrap();
    file.write_all(b"first").unwrap();
    file.commit().unwrap();
    dir.commit().unwrap();

    let dir = ResultDir::create(&path, Overwrite::Force).unwrap();
    let mut small = dir.file("a.txt").unwrap();
    small.write_all(b"second").unwrap();
    small.commit().unwrap();
    let mut big = dir.file("big.txt").unwrap();
    let error = big.write_all(&vec![0; 1 << 20]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    let text = error.to_string();
    assert!(text.contains("big.txt") && text.contains("free space there"), "{text}");
    assert!(matches!(big.commit(), Err(FileError::Incomplete { .. })));
    // A failing run gives the directory up.
    drop(dir);
    assert_eq!(std::fs::read_to_string(path.join("a.txt")).unwrap(), "first");
    let mut names: Vec<_> =
        std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["MANIFEST", "a.txt"]);

    // With no space left at all, not even a directory may be had: an error, not a panic.
    let filler = std::fs::write(disk.join("filler"), vec![0; 1 << 20]);
    assert!(filler.is_err());
    match ResultDir::create(disk.join("other"), Overwrite::Refuse) {
        Ok(dir) => {
            let error = match dir.file("x") {
                Ok(mut file) => file.write_all(&vec![0; 1 << 20]).unwrap_err().to_string(),
                Err(error) => error.to_string(),
            };
            assert!(error.contains("free space there"), "{error}");
        }
        Err(error) => assert!(matches!(error, DirError::Io { .. }), "{error:?}"),
    }
}
