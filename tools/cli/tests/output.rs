//! Promise: whoever reads the output, or does not, the exit status says what was found and done.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fs::{File, OpenOptions};
use std::io::pipe;
use std::path::Path;
use std::process::{Command, Stdio};

fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

/// A pipe that nobody reads.
fn closed() -> Stdio {
    pipe().unwrap().1.into()
}

fn status(args: &[&str], dir: &Path, out: Stdio, err: Stdio) -> i32 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_panther-events"));
    command.args(args).current_dir(dir).stdout(out).stderr(err).status().unwrap().code().unwrap()
}

#[test]
fn what_was_done_is_never_told_to_be_nothing() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::copy(data.join("client.pcap"), dir.join("client.pcap")).unwrap();
    std::fs::write(dir.join("bad.jsonl"), "no event\n").unwrap();
    let null = Stdio::null;
    let ingest = ["ingest", "client.pcap", "--out", "out", "--force"];
    assert_eq!(status(&[&ingest[..], &["--journal", "j"]].concat(), dir, null(), null()), 0);
    for more in [&[][..], &["--json"]] {
        let args = [&ingest[..], more].concat();
        assert_eq!(status(&args, dir, full(), null()), 1, "{args:?}");
        assert_eq!(status(&args, dir, closed(), closed()), 0, "{args:?}");
    }
    let refused = ["ingest", "bad.jsonl", "--format", "panther", "--out", "refused", "--force"];
    assert_eq!(status(&refused, dir, null(), full()), 1);
    assert!(File::open(dir.join("refused/MANIFEST")).is_ok());
    assert_eq!(status(&["verify", "j"], dir, closed(), null()), 0);
    assert_eq!(status(&["verify", "j"], dir, full(), null()), 1);
    for (new, out, expected) in [("r1", closed(), 0), ("r2", full(), 1)] {
        assert_eq!(status(&["repair", "j", "--out", new], dir, out, null()), expected, "{new}");
        assert_eq!(status(&["verify", new], dir, null(), null()), 0, "{new}");
    }
    for (new, out, expected) in [("p1", closed(), 0), ("p2", full(), 1)] {
        assert_eq!(status(&["replay", "j", "--out", new], dir, out, null()), expected, "{new}");
    }
}
