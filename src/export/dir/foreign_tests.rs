//! What lies in a result directory and is not of an earlier result.

use super::*;
use std::time::{Duration, Instant};

const OURS: &str = "panther-events result 1\n";

fn write(dir: &ResultDir, name: &str, text: &str) {
    let mut file = dir.file(name).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.commit().unwrap();
}

fn run(path: &Path, files: &[(&str, &str)]) {
    let dir = ResultDir::create(path, Overwrite::Force).unwrap();
    files.iter().for_each(|(name, text)| write(&dir, name, text));
    dir.commit().unwrap();
}

fn names(path: &Path) -> BTreeSet<String> {
    fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn is_foreign(error: &DirError, path: &Path) -> bool {
    let text = error.to_string();
    assert!(text.contains("move it away or choose another directory"), "{text}");
    matches!(error, DirError::Foreign { path: named } if named == path)
}

/// A list of another program (a Java archive's, a dataset's), of an earlier version, or one that somebody made up.
#[test]
fn a_list_that_is_not_ours_is_refused_by_name_and_nothing_is_removed() {
    for list in [MANIFEST, INTENT] {
        for text in [
            "6 thesis.txt\n",
            "",
            "\n",
            "thesis.txt\n",
            "Manifest-Version: 1.0\n",
            "panther-events result 2\n6 thesis.txt\n",
            "panther-events result 1 \n6 thesis.txt\n",
            "panther-events result 1\n6 thesis.txt",
            "panther-events result 1\n6 ../precious\n",
            "panther-events result 1\n6 .profile\n",
            "panther-events result 1\nsix thesis.txt\n",
            "panther-events intent 1\n6 sub/thesis.txt\n",
        ] {
            let temp = tempfile::tempdir().unwrap();
            let path = temp.path().join("run");
            fs::create_dir(&path).unwrap();
            let mine = [temp.path().join("precious"), path.join("thesis.txt"), path.join(".profile")];
            mine.iter().for_each(|path| fs::write(path, "my own").unwrap());
            fs::write(path.join(list), text).unwrap();
            let refused = ResultDir::create(&path, Overwrite::Force).unwrap_err();
            assert!(is_foreign(&refused, &path.join(list)), "{list} {text:?}: {refused}");
            assert!(mine.iter().all(|path| fs::read(path).unwrap() == b"my own"), "{list} {text:?}");
            assert_eq!(fs::read_to_string(path.join(list)).unwrap(), text);
        }
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_refused_by_name_and_nobody_waits_for_it() {
    for name in [MANIFEST, INTENT, &partial("a"), "a"] {
        for kind in ["link", "dangling link", "pipe", "directory"] {
            let temp = tempfile::tempdir().unwrap();
            let (path, target) = (temp.path().join("run"), temp.path().join("precious"));
            run(&path, &[("b", "earlier")]);
            let list = [OURS, "6 b\n"].concat();
            fs::write(&target, &list).unwrap();
            let there = path.join(name);
            let _ = fs::remove_file(&there);
            match kind {
                "link" => std::os::unix::fs::symlink(&target, &there).unwrap(),
                "dangling link" => std::os::unix::fs::symlink(temp.path().join("none"), &there).unwrap(),
                "pipe" => {
                    let made = std::process::Command::new("mkfifo").arg(&there).status().unwrap();
                    assert!(made.success());
                }
                _ => fs::create_dir(&there).unwrap(),
            }
            let start = Instant::now();
            match ResultDir::create(&path, Overwrite::Force) {
                Err(refused) => assert!(is_foreign(&refused, &there), "{name} {kind}: {refused}"),
                Ok(dir) => {
                    let refused = dir.file("a").unwrap_err();
                    assert!(matches!(&refused, FileError::Foreign { path } if *path == there), "{refused}");
                }
            }
            assert!(start.elapsed() < Duration::from_secs(10));
            assert_eq!(fs::read_to_string(&target).unwrap(), list, "{name} {kind}");
            assert!(!temp.path().join("none").exists() && fs::symlink_metadata(&there).is_ok());
            assert_eq!(fs::read_to_string(path.join("b")).unwrap(), "earlier");
        }
    }
}

#[test]
fn a_file_that_no_earlier_result_lists_is_not_replaced() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("summary.json"), "mine").unwrap();
    let dir = ResultDir::create(temp.path(), Overwrite::Force).unwrap();
    let refused = dir.file("summary.json").unwrap_err();
    assert!(matches!(&refused, FileError::Foreign { .. }), "{refused}");
    assert!(dir.may_write("summary.json").is_err() && dir.may_write("other.json").is_ok());
    // One that comes while the run writes.
    write(&dir, "late.txt", "ours");
    fs::write(temp.path().join("late.txt"), "mine").unwrap();
    let refused = dir.commit().unwrap_err();
    assert!(is_foreign(&refused, &temp.path().join("late.txt")), "{refused}");
    for name in ["summary.json", "late.txt"] {
        assert_eq!(fs::read_to_string(temp.path().join(name)).unwrap(), "mine");
    }
    assert_eq!(names(temp.path()).len(), 2);
}

#[test]
fn a_file_of_an_earlier_result_that_was_changed_since_stays_and_the_others_go() {
    let temp = tempfile::tempdir().unwrap();
    run(temp.path(), &[("changed.csv", "a,b\n"), ("stale.csv", "a,b\n"), ("again.csv", "a,b\n")]);
    fs::write(temp.path().join("changed.csv"), "a,b,my notes\n").unwrap();
    fs::write(temp.path().join("again.csv"), "a,b,replaced all the same\n").unwrap();
    run(temp.path(), &[("again.csv", "new")]);
    let expected = ["MANIFEST", "again.csv", "changed.csv"].map(str::to_owned);
    assert_eq!(names(temp.path()), expected.into());
    assert_eq!(fs::read_to_string(temp.path().join("again.csv")).unwrap(), "new");
    assert_eq!(fs::read_to_string(temp.path().join("changed.csv")).unwrap(), "a,b,my notes\n");
}

/// `mv out out.bak` while a run writes, and another run begins in its place.
#[cfg(target_os = "linux")]
#[test]
fn a_run_whose_directory_is_moved_leaves_the_next_one_alone() {
    for force in [false, true] {
        let temp = tempfile::tempdir().unwrap();
        let (out, away) = (temp.path().join("out"), temp.path().join("out.bak"));
        if force {
            run(&out, &[("a", "earliest"), ("stale", "earliest")]);
        }
        let first = ResultDir::create(&out, Overwrite::Force).unwrap();
        write(&first, "a", "first");
        let mut open = first.file("open").unwrap();
        fs::rename(&out, &away).unwrap();

        let second = ResultDir::create(&out, Overwrite::Refuse).unwrap();
        write(&second, "a", "second");
        open.write_all(b"first").unwrap();
        open.commit().unwrap();
        second.commit().unwrap();
        write(&first, "late", "first");
        let told = first.commit().unwrap_err();
        assert!(matches!(&told, DirError::Moved { path } if *path == out), "{told}");
        assert!(told.to_string().contains("whole where the directory is now"), "{told}");

        assert_eq!(names(&out), ["MANIFEST", "a"].map(str::to_owned).into());
        assert_eq!(fs::read_to_string(out.join("a")).unwrap(), "second");
        assert_eq!(names(&away), ["MANIFEST", "a", "late", "open"].map(str::to_owned).into());
        assert_eq!(fs::read_to_string(away.join("a")).unwrap(), "first");

        // One that gives up removes nothing of another's either.
        let (out, away) = (temp.path().join("given up"), temp.path().join("given up.bak"));
        let first = ResultDir::create(&out, Overwrite::Refuse).unwrap();
        write(&first, "a", "first");
        fs::rename(&out, &away).unwrap();
        fs::create_dir(&out).unwrap();
        drop(first);
        assert!(out.exists() && names(&away).is_empty());
    }
}

#[test]
fn a_result_has_as_many_files_as_its_list_has_room_for() {
    let temp = tempfile::tempdir().unwrap();
    let dir = ResultDir::create(temp.path(), Overwrite::Refuse).unwrap();
    let name = |number: usize| format!("{number:0>128}");
    {
        let mut files = dir.shared.files();
        files.ready.extend((0..FILES_MAX - 1).map(|number| (name(number), u64::MAX)));
    }
    write(&dir, "last", "");
    assert!(matches!(dir.file("more"), Err(FileError::TooMany { .. })));
    let text = list::List::Manifest.text(dir.shared.files().ready.iter().map(|(name, len)| (name, *len)));
    fs::write(temp.path().join(MANIFEST), text).unwrap();
    assert_eq!(earlier(&dir.shared.dir).unwrap().len(), FILES_MAX);
}
