use super::publish::Change;
use super::*;
use std::cell::{Cell, RefCell};

thread_local! {
    static CHANGES_LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
    static SEEN: RefCell<Vec<Seen>> = const { RefCell::new(Vec::new()) };
    static FAILS: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// A change, and the text of the file that gets its name.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Seen {
    Write(String),
    Sync(String),
    Rename(String, String, String),
    Remove(String),
    SyncDir,
}

impl Seen {
    fn of(dir: &Directory, change: &Change<'_>) -> Seen {
        match *change {
            Change::Write(name) => Seen::Write(name.to_owned()),
            Change::Sync(name) => Seen::Sync(name.to_owned()),
            Change::Rename(from, to) => {
                let text = fs::read_to_string(dir.path().join(from)).unwrap_or_default();
                Seen::Rename(from.to_owned(), to.to_owned(), text)
            }
            Change::Remove(name) => Seen::Remove(name.to_owned()),
            Change::SyncDir => Seen::SyncDir,
        }
    }
}

pub(super) fn interruption(dir: &Directory, change: Change<'_>) -> io::Result<()> {
    let seen = Seen::of(dir, &change);
    let fails = FAILS.with_borrow(|fails| fails.as_ref() == Some(&seen));
    SEEN.with_borrow_mut(|all| all.push(seen));
    let left = CHANGES_LEFT.get();
    CHANGES_LEFT.set(left.saturating_sub(1));
    if left == 0 || fails { Err(io::Error::other("interrupted by the test")) } else { Ok(()) }
}

fn write(dir: &ResultDir, name: &str, text: &str) {
    let mut file = dir.file(name).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.commit().unwrap();
}

fn names(path: &Path) -> Vec<String> {
    fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn contents(path: &Path) -> BTreeMap<String, String> {
    let read = |name: &String| (name.clone(), fs::read_to_string(path.join(name)).unwrap());
    names(path).iter().map(read).collect()
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
    let expected = [("MANIFEST", "panther-events result 1\n5 a.txt\n"), ("a.txt", "alpha")];
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
        ("MANIFEST", "panther-events result 1\n3 fresh.txt\n3 kept.txt\n"),
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
        let published = publish(&Directory::open(temp.path()).unwrap(), &ready);
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
        assert_eq!(cleared.remove(ResultDir::MANIFEST).as_deref(), Some("panther-events result 1\n3 last\n"));
        assert_eq!(cleared, texts(LAST), "after a stop after {stop_after} changes");
    }
    assert!(interrupted >= 8 && whole_old >= 2 && unsealed >= 5, "{interrupted} {whole_old} {unsealed}");
}

type State = BTreeMap<String, String>;

/// Every state that a power cut can leave, one change after the other: of those behind the last sync of the directory, any.
fn after_power_cuts(start: State, changes: &[Seen]) -> Vec<State> {
    let apply = |state: &mut State, change: &Seen| match change {
        Seen::Write(name) => drop(state.insert(name.clone(), String::new())),
        Seen::Rename(from, to, text) => {
            state.remove(from);
            state.insert(to.clone(), text.clone());
        }
        Seen::Remove(name) => drop(state.remove(name)),
        Seen::SyncDir | Seen::Sync(_) => {}
    };
    let (mut synced, mut states) = (start, Vec::new());
    for part in changes.split_inclusive(|change| *change == Seen::SyncDir) {
        for kept in 0..1_u32 << part.len() {
            let mut state = synced.clone();
            let kept = part.iter().enumerate().filter(|(at, _)| kept >> at & 1 != 0);
            kept.for_each(|(_, change)| apply(&mut state, change));
            states.push(state);
        }
        part.iter().for_each(|change| apply(&mut synced, change));
    }
    states
}

#[test]
fn a_power_cut_leaves_a_whole_result_or_none_and_a_list_of_what_is_there() {
    const OLD: &[(&str, &str)] = &[("a", "old a"), ("stale", "old s"), ("stale-too", "old t")];
    const NEW: &[(&str, &str)] = &[("a", "new aa"), ("b", "new b"), ("c", "new c")];
    let temp = tempfile::tempdir().unwrap();
    run(temp.path(), Overwrite::Refuse, OLD);
    let dir = ResultDir::create(temp.path(), Overwrite::Force).unwrap();
    for (name, text) in NEW {
        write(&dir, name, text);
    }
    let before = contents(temp.path());
    SEEN.take();
    dir.commit().unwrap();
    let changes = SEEN.take();
    let states = after_power_cuts(before.clone(), &changes);
    let texts = |files: &[(&str, &str)]| -> State {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    };
    let listed = |state: &State, list: &str| -> State {
        let lines = state.get(list).map_or("", String::as_str).lines().skip(1);
        let pairs = lines.map(|line| line.split_once(' ').unwrap());
        pairs.map(|(len, name)| (name.to_owned(), len.to_owned())).collect()
    };
    let (mut of_old, mut of_new, mut of_none) = (0, 0, 0);
    for state in &states {
        let what = || format!("{state:?} after {changes:?}");
        let (manifest, intent) = (listed(state, ResultDir::MANIFEST), listed(state, INTENT));
        let files: State = state
            .iter()
            .filter(|(name, _)| !name.starts_with('.') && *name != ResultDir::MANIFEST)
            .map(|(name, text)| (name.clone(), text.clone()))
            .collect();
        if manifest.is_empty() {
            of_none += 1;
            let whole = |(name, text): (&String, &String)| {
                [OLD, NEW].iter().any(|run| run.contains(&(name.as_str(), text.as_str())))
            };
            assert!(files.iter().all(whole), "{}", what());
        } else {
            let expected = if manifest.contains_key("stale") { OLD } else { NEW };
            assert_eq!(files, texts(expected), "{}", what());
            assert!(files.iter().all(|(name, text)| manifest[name] == text.len().to_string()), "{}", what());
            if expected == OLD { of_old += 1 } else { of_new += 1 }
        }
        // What is there is listed, so that the next run knows what to clear.
        let known = |name: &String| manifest.contains_key(name) || intent.contains_key(name);
        assert!(files.keys().all(known), "{}", what());
    }
    assert!(of_old > 2 && of_new > 1 && of_none > 8, "{of_old} {of_new} {of_none}");
    // The last change is the end of the intent: everything before it is on the disk.
    assert!(changes.ends_with(&[Seen::SyncDir, Seen::Remove(INTENT.to_owned())]), "{changes:?}");
}

/// A file that cannot be synced: a pipe takes what is written, and says that it cannot be synced.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_cannot_be_synced_is_no_result() {
    let temp = tempfile::tempdir().unwrap();
    let dir = ResultDir::create(temp.path(), Overwrite::Refuse).unwrap();
    let (_reader, writer) = io::pipe().unwrap();
    let file = File::from(std::os::fd::OwnedFd::from(writer));
    let mut file = ResultFile::new(Arc::clone(&dir.shared), "x", file);
    file.write_all(b"all of it").unwrap();
    let error = file.commit().unwrap_err();
    assert!(matches!(&error, FileError::Io { action: "sync to the disk", .. }), "{error:?}");
    assert_eq!(dir.commit().unwrap(), BTreeMap::new());
}

#[test]
fn a_list_that_cannot_be_synced_seals_no_result() {
    for list in [INTENT, ResultDir::MANIFEST] {
        let temp = tempfile::tempdir().unwrap();
        let dir = ResultDir::create(temp.path(), Overwrite::Refuse).unwrap();
        write(&dir, "a", "alpha");
        FAILS.set(Some(Seen::Sync(partial(list))));
        let error = dir.commit().unwrap_err();
        FAILS.set(None);
        assert!(matches!(&error, DirError::Io { action: "write the list of files", .. }), "{error:?}");
        assert!(!temp.path().join(ResultDir::MANIFEST).exists(), "{list}");
    }
}

/// Names that look like this crate's, and are not.
#[test]
fn what_looks_like_a_leftover_and_is_none_stays() {
    let foreign = [
        "notes.panther-partial",
        "a.txt.panther-partial",
        "panther-partial",
        "..panther-partial",
        "..hidden.panther-partial",
        ".a:b.panther-partial",
        ".a.txt.panther-partial.bak",
        ".a.txt.panther-partial2",
        ".a.panther-partia",
        ".intent.bak",
        ".hidden",
    ];
    for name in foreign {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join(name), "mine").unwrap();
        let refused = ResultDir::create(temp.path(), Overwrite::Refuse);
        assert!(matches!(&refused, Err(DirError::NotEmpty { example, .. }) if example == name), "{name}");
        for text in ["first", "second"] {
            run(temp.path(), Overwrite::Force, &[("a.txt", text), ("b.txt", text)]);
            assert_eq!(contents(temp.path()).remove(name).as_deref(), Some("mine"), "{name}");
        }
        drop(ResultDir::create(temp.path(), Overwrite::Force).unwrap());
        assert_eq!(contents(temp.path()).remove(name).as_deref(), Some("mine"), "{name}");
    }
}

#[test]
fn leftovers_of_a_killed_run_do_not_count_and_are_removed() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join(partial("a.txt")), "half").unwrap();
    fs::write(temp.path().join(INTENT), "panther-events intent 1\n0 a.txt\n").unwrap();
    run(temp.path(), Overwrite::Refuse, &[("b.txt", "whole")]);
    assert_eq!(contents(temp.path()).into_keys().collect::<Vec<_>>(), ["MANIFEST", "b.txt"]);
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
