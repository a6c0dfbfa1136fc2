use super::*;
use std::cell::Cell;

thread_local! {
    static CHANGES_LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
}

pub(super) fn interruption() -> io::Result<()> {
    let left = CHANGES_LEFT.get();
    CHANGES_LEFT.set(left.saturating_sub(1));
    if left == 0 { Err(io::Error::other("interrupted by the test")) } else { Ok(()) }
}

fn write(dir: &ResultDir, name: &str, text: &str) {
    let mut file = dir.file(name).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.commit().unwrap();
}

fn contents(path: &Path) -> BTreeMap<String, String> {
    let read = |name: &String| (name.clone(), fs::read_to_string(path.join(name)).unwrap());
    entries(path).unwrap().iter().map(read).collect()
}

fn run(path: &Path, overwrite: Overwrite, files: &[(&str, &str)]) {
    let dir = ResultDir::create(path, overwrite).unwrap();
    for (name, text) in files {
        write(&dir, name, text);
    }
    dir.commit().unwrap();
}

#[test]
fn nothing_has_its_name_before_the_directory_is_committed() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("run");
    let dir = ResultDir::create(&path, Overwrite::Refuse).unwrap();
    write(&dir, "a.txt", "alpha");
    assert!(!path.join("a.txt").exists());
    let sealed = dir.commit().unwrap();
    assert_eq!(sealed, BTreeMap::from([("a.txt".to_owned(), 5)]));
    let expected = [("MANIFEST", "5 a.txt\n"), ("a.txt", "alpha")];
    assert_eq!(contents(&path), expected.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
}

#[test]
fn a_result_given_up_leaves_nothing_and_an_earlier_one_as_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("run");
    let dir = ResultDir::create(&path, Overwrite::Refuse).unwrap();
    write(&dir, "a.txt", "alpha");
    let open = dir.file("b.txt").unwrap();
    drop(dir);
    assert!(matches!(open.commit(), Err(FileError::Closed { .. })));

    let path = temp.path().join("second");
    run(&path, Overwrite::Refuse, &[("a.txt", "first")]);
    let before = contents(&path);
    let dir = ResultDir::create(&path, Overwrite::Force).unwrap();
    write(&dir, "a.txt", "second");
    drop(dir.file("b.txt").unwrap());
    drop(dir);
    assert_eq!(contents(&path), before);
}

#[test]
fn a_directory_made_for_a_result_that_is_given_up_goes_again() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("run");
    let dir = ResultDir::create(&path, Overwrite::Refuse).unwrap();
    write(&dir, "a.txt", "alpha");
    drop(dir);
    assert!(!path.exists());
    // One that was there stays.
    drop(ResultDir::create(temp.path(), Overwrite::Refuse).unwrap());
    assert!(temp.path().exists());
}

#[test]
fn forcing_replaces_the_earlier_result_whole_and_keeps_foreign_files() {
    let temp = tempfile::tempdir().unwrap();
    run(temp.path(), Overwrite::Refuse, &[("kept.txt", "old"), ("stale.txt", "old")]);
    fs::write(temp.path().join("notes.md"), "mine").unwrap();
    run(temp.path(), Overwrite::Force, &[("kept.txt", "new"), ("fresh.txt", "new")]);
    let names: Vec<_> = contents(temp.path()).into_iter().collect();
    let expected = [
        ("MANIFEST", "3 fresh.txt\n3 kept.txt\n"),
        ("fresh.txt", "new"),
        ("kept.txt", "new"),
        ("notes.md", "mine"),
    ];
    assert_eq!(names, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
}

/// Stops a commit over an earlier result before each of its changes, and checks what the module's
/// documentation promises.
#[test]
fn an_interrupted_commit_is_never_taken_for_a_result_and_the_next_run_clears_it() {
    const OLD: &[(&str, &str)] = &[("a", "old"), ("stale", "old"), ("stale-too", "old")];
    const NEW: &[(&str, &str)] = &[("a", "new"), ("b", "new"), ("c", "new")];
    const LAST: &[(&str, &str)] = &[("last", "end")];
    let texts = |files: &[(&str, &str)]| -> BTreeMap<String, String> {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    };
    let (mut interrupted, mut whole_old, mut unsealed) = (0, 0, 0);
    for stop_after in 0.. {
        let temp = tempfile::tempdir().unwrap();
        run(temp.path(), Overwrite::Refuse, OLD);
        // A kill runs no destructor: the files are laid out as a run leaves them and published directly.
        for (name, text) in NEW {
            fs::write(temp.path().join(partial(name)), text).unwrap();
        }
        let ready = NEW.iter().map(|(name, text)| ((*name).to_owned(), text.len() as u64)).collect();
        CHANGES_LEFT.set(stop_after);
        let published = publish(temp.path(), &ready);
        CHANGES_LEFT.set(u64::MAX);
        if published.is_ok() {
            break;
        }
        interrupted += 1;

        let mut found = contents(temp.path());
        found.retain(|name, _| !name.starts_with('.'));
        match found.remove(ResultDir::MANIFEST) {
            Some(manifest) => {
                let expected = if manifest.contains("stale") { OLD } else { NEW };
                assert_eq!(found, texts(expected), "stopped after {stop_after} changes");
                whole_old += usize::from(expected == OLD);
            }
            None => {
                unsealed += 1;
                let whole = |(name, text): (&String, &String)| {
                    [OLD, NEW].iter().any(|run| run.contains(&(name.as_str(), text.as_str())))
                };
                assert!(found.iter().all(whole), "{found:?}");
                let refused = ResultDir::create(temp.path(), Overwrite::Refuse);
                assert!(matches!(refused, Err(DirError::NotEmpty { .. })));
            }
        }

        run(temp.path(), Overwrite::Force, LAST);
        let mut cleared = contents(temp.path());
        assert_eq!(cleared.remove(ResultDir::MANIFEST).as_deref(), Some("3 last\n"));
        assert_eq!(cleared, texts(LAST), "after a stop after {stop_after} changes");
    }
    assert!(interrupted >= 8 && whole_old >= 2 && unsealed >= 5, "{interrupted} {whole_old} {unsealed}");
}

#[test]
fn leftovers_of_a_killed_run_do_not_count_and_are_removed() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join(partial("a.txt")), "half").unwrap();
    fs::write(temp.path().join(INTENT), "0 a.txt\n").unwrap();
    run(temp.path(), Overwrite::Refuse, &[("b.txt", "whole")]);
    assert_eq!(contents(temp.path()).into_keys().collect::<Vec<_>>(), ["MANIFEST", "b.txt"]);
}

#[test]
fn a_foreign_manifest_cannot_make_a_commit_remove_files_elsewhere() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("run");
    fs::create_dir(&path).unwrap();
    fs::write(temp.path().join("precious"), "kept").unwrap();
    fs::write(path.join("MANIFEST"), "5 ../precious\nprecious\n5 \nx y\n\0\n").unwrap();
    run(&path, Overwrite::Force, &[("a", "1")]);
    assert!(temp.path().join("precious").exists());
}

#[test]
fn what_is_in_the_way_is_named_with_path_and_remedy() {
    let temp = tempfile::tempdir().unwrap();
    let create = |path: PathBuf| ResultDir::create(path, Overwrite::Refuse).unwrap_err();

    let error = create(temp.path().join("missing/run"));
    assert!(matches!(&error, DirError::ParentMissing { .. }), "{error:?}");
    assert!(error.to_string().contains("missing does not exist; create it first"), "{error}");

    let file = temp.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(create(file.clone()), DirError::NotADirectory { .. }));
    assert!(matches!(create(file.join("run")), DirError::NotADirectory { .. }));

    let error = create(temp.path().to_path_buf());
    assert!(matches!(&error, DirError::NotEmpty { example, .. } if example == "file"), "{error:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_place_without_permission_is_named_as_such() {
    // Holds for the superuser too.
    let error = ResultDir::create("/sys/run", Overwrite::Refuse).unwrap_err();
    assert!(matches!(error, DirError::NotPermitted { action: "create the directory", .. }), "{error:?}");
}

#[cfg(unix)]
#[test]
fn two_runs_cannot_write_into_one_directory() {
    let temp = tempfile::tempdir().unwrap();
    let first = ResultDir::create(temp.path(), Overwrite::Force).unwrap();
    let second = ResultDir::create(temp.path(), Overwrite::Force);
    assert!(matches!(second, Err(DirError::InUse { .. })), "{second:?}");
    drop(first);
    ResultDir::create(temp.path(), Overwrite::Force).unwrap();
}

#[test]
fn names_that_leave_the_directory_or_clash_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let dir = ResultDir::create(temp.path(), Overwrite::Refuse).unwrap();
    let long = "x".repeat(129);
    for name in
        ["", ".", "..", "a/b", "a\\b", "c:d", "/etc/passwd", ".hidden", "MANIFEST", "a\nb", "a\0b", &long]
    {
        assert!(matches!(dir.file(name), Err(FileError::Name { .. })), "{name:?}");
    }
    let open = dir.file("twice").unwrap();
    assert!(matches!(dir.file("twice"), Err(FileError::Repeated { .. })));
    open.commit().unwrap();
    assert!(matches!(dir.file("twice"), Err(FileError::Repeated { .. })));
    let _open = dir.file("open").unwrap();
    assert!(matches!(dir.commit(), Err(DirError::StillOpen { .. })));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_by_the_write_and_by_the_commit() {
    let temp = tempfile::tempdir().unwrap();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let dir = ResultDir::create(temp.path(), Overwrite::Refuse).unwrap();

    let mut file = ResultFile::new(Arc::clone(&dir.shared), "big", full());
    let error = file.write_all(&[0; 1 << 17]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    let text = error.to_string();
    assert!(text.contains("big: cannot write: No space") && text.contains("free space"), "{text}");
    // A format's writer may have swallowed the error: the commit does not forget it.
    assert!(matches!(file.commit(), Err(FileError::Incomplete { .. })));

    let mut file = ResultFile::new(Arc::clone(&dir.shared), "small", full());
    file.write_all(b"fits the buffer").unwrap();
    let error = file.commit().unwrap_err();
    assert!(matches!(&error, FileError::Io { action: "write", .. }), "{error:?}");
    assert!(error.to_string().contains("free space there"), "{error}");
    assert_eq!(dir.commit().unwrap(), BTreeMap::new());
}
