//! Promise: a limit of the system's (on the size of files, on threads) ends a command with a status and a word on what to do, and
//! costs nothing that was there.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests are tests")]

#[path = "../../../tests/it/support/skip.rs"]
mod skip;

use panther_events::event::{Record, Symbol};
use panther_events::journal::{Durability, JournalWriter, Options, RunId};
use skip::skip;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_panther-events");

/// A user that has no process but ours.
const NOBODY: &str = "64321";

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(name)
}

/// Runs the command behind `ulimit`s of a shell.
fn limited(limit: &str, program: &Path, args: &[&str], dir: &Path) -> Output {
    let shell = format!("{limit} && exec \"$0\" \"$@\"");
    Command::new("sh").args(["-c", &shell]).arg(program).args(args).current_dir(dir).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn copy_captures(dir: &Path) {
    for name in ["client.pcap", "server.pcap"] {
        fs::copy(data(name), dir.join(name)).unwrap();
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_disk_trouble_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    copy_captures(dir);
    // 128 to 256 KiB, as the shell counts.
    let run = |args: &[&str]| limited("ulimit -f 256", Path::new(PROGRAM), args, dir);
    let ingest = ["ingest", "client.pcap", "server.pcap", "--quiet", "--out"];

    // A result that has no room is none, and the one before it stays.
    let whole = Command::new(PROGRAM).args(ingest).arg("out").current_dir(dir).output().unwrap();
    assert_eq!(whole.status.code(), Some(0), "{}", told(&whole));
    let before = fs::read(dir.join("out/MANIFEST")).unwrap();
    let output = run(&[&ingest[..], &["out", "--force"]].concat());
    let text = told(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("events.jsonl") && text.contains("ulimit -f"), "{text}");
    assert_eq!(fs::read(dir.join("out/MANIFEST")).unwrap(), before);

    // Results that have room are written; what the journal could not take is counted.
    let output = run(&[&ingest[..], &["small", "--events", "none", "--journal", "journal"]].concat());
    let text = told(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("events failed") && text.contains("ulimit -f"), "{text}");
    assert!(dir.join("small/MANIFEST").exists());

    let output = run(&[&ingest[..], &["none", "--recorder", "flight"]].concat());
    let text = told(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("flight") && text.contains("ulimit -f"), "{text}");
    assert!(!dir.join("none").exists() && !dir.join("flight").exists(), "half of it is left");

    // A journal to be repaired that is larger than that.
    let mut writer =
        JournalWriter::open(&dir.join("old"), RunId([7; 16]), Options::new(Durability::Buffered), 7).unwrap();
    let kind = panther_events::EventKind::new(panther_events::Domain::SERVICE, 0);
    let record = |seq: u32| {
        Record::of_kind(kind, panther_events::Identity::Occurrence, 7, Symbol::NONE, [0; Record::PAYLOAD_LEN])
            .numbered(1, seq)
    };
    assert_eq!(writer.append(&(0..4000).map(record).collect::<Vec<_>>()).lost, 0);
    writer.close().unwrap();
    for args in [&["repair", "old", "--out", "new"][..], &["recover", "old", "--out", "newer"]] {
        let output = run(args);
        let text = told(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains("File too large"), "{text}");
    }
    assert!(!dir.join("newer").exists());
}

#[test]
fn threads_that_the_system_refuses_end_a_command_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let dir = dir.path();
    copy_captures(dir);
    // Where a user without rights may run it.
    let program = dir.join("panther-events");
    fs::copy(PROGRAM, &program).unwrap();
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !is_root {
        return skip("limits", "only the superuser can become a user without other processes");
    }
    let as_nobody = |threads: u32, args: &[&str]| {
        let limit = format!("--nproc={threads}");
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--clear-groups", "timeout", "60", "prlimit", &limit]).arg(&program);
        command.args(args).current_dir(dir).output()
    };
    if !as_nobody(1, &["--version"]).is_ok_and(|output| output.status.success()) {
        return skip("limits", "setpriv or prlimit is not here, or may not change the user");
    }
    let journal = ["--journal", "JOURNAL"];
    let captures = ["ingest", "client.pcap", "server.pcap", "--digest-bytes", "60"];
    let mut run = 0;
    for (refused_least, args) in [
        // The pipeline's thread, and one for each capture; the journal's is the first of all.
        (3, &captures[..]),
        (4, &[&captures[..], &journal].concat()),
        (4, &[&captures[..], &["--topology", "staged:1x1"]].concat()),
    ] {
        let mut refused = 0;
        for threads in 1.. {
            run += 1;
            let (out, journal) = (format!("out-{run}"), format!("journal-{run}"));
            let mut args: Vec<&str> =
                args.iter().map(|arg| if *arg == "JOURNAL" { &*journal } else { *arg }).collect();
            if args[0] == "ingest" {
                args.extend(["--quiet", "--out", &out]);
            }
            let output = as_nobody(threads, &args).unwrap();
            let text = told(&output);
            assert!(!text.contains("panicked"), "{args:?} with {threads}: {text}");
            if output.status.code() == Some(0) {
                break;
            }
            refused += 1;
            assert_eq!(output.status.code(), Some(2), "{args:?} with {threads}: {text}");
            assert!(text.contains("could not be started") && text.contains("ulimit -u"), "{text}");
            assert!(!dir.join(&out).exists(), "half a result is left");
            assert!(threads < 40, "{args:?}: {text}");
        }
        assert!(refused >= refused_least, "{args:?}: refused {refused} times");
    }
    let output = as_nobody(1, &["bench"]).unwrap();
    let text = told(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("could not be started") && text.contains("ulimit -u"), "{text}");
}
