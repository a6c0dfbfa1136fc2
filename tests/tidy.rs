//! The house rules that a compiler does not check. Each checker is shown to find a planted fault.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use std::fs;
use std::path::{Path, PathBuf};

/// Which modules of the crate each module may use, besides itself: data moves one way. A new module needs a
/// row here.
const MAY_USE: &[(&str, &[&str])] = &[
    // Used by all who need them; they use each other only downwards.
    ("guide", &[]),
    ("hash", &[]),
    ("directory", &["fork"]),
    ("sync", &[]),
    ("fork", &[]),
    ("fence", &["fork", "sync"]),
    ("wait", &["fence", "fork", "sync"]),
    ("clock", &["sync"]),
    ("event", &["fork", "hash"]),
    // The stages, in the order in which data passes them.
    ("ring", &["event", "sync", "wait"]),
    ("recorder", &["directory", "event", "fork", "sync"]),
    ("emit", &["clock", "event", "fork", "recorder", "ring", "sync", "wait"]),
    // The schema, with the typed emitters of its events.
    ("domain", &["emit", "event"]),
    ("dedup", &["event"]),
    // What is derived from events has the numbers of a source of its own.
    ("process", &["emit", "event"]),
    ("observe", &["dedup", "domain", "event", "fork", "hash", "sync"]),
    ("paths", &["domain", "event", "hash", "observe"]),
    (
        "journal",
        &[
            "clock",
            "dedup",
            "directory",
            "domain",
            "emit",
            "event",
            "fork",
            "hash",
            "observe",
            "recorder",
            "sync",
        ],
    ),
    // Knows all stages and starts the threads.
    (
        "pipeline",
        &[
            "clock", "dedup", "domain", "emit", "event", "hash", "observe", "process", "recorder", "ring",
            "sync", "wait",
        ],
    ),
    // File formats, around the pipeline: nothing before them knows them.
    ("export", &["dedup", "directory", "domain", "event", "observe", "paths", "pipeline", "process"]),
    // The standard observers and the files that they fill.
    ("run", &["dedup", "emit", "event", "export", "observe", "paths", "pipeline"]),
    ("ingest", &["domain", "emit", "event", "hash", "paths", "pipeline"]),
];

/// What files of formats may not use: they take plain values. Only `export::from_snapshot` may.
const FORMATS_MUST_NOT_USE: &[&str] = &["pipeline", "process", "paths"];

/// The only files that may hold unsafe code.
const UNSAFE_FILES: &[&str] = &[
    "benches/dedup_scale/filter.rs",
    "benches/dedup_scale/main.rs",
    "src/dedup/memory.rs",
    "src/dedup/simd.rs",
    "src/event/ids.rs",
    "src/fork.rs",
    "src/recorder/map.rs",
    "src/recorder/stores.rs",
    "src/ring/fill.rs",
    "src/sync/rtrb.rs",
    "tests/emit_path.rs",
    "tests/fork.rs",
    "tests/identity.rs",
    "tests/out_of_memory.rs",
    "tests/recorder_kill.rs",
];

const LINES_MAX: usize = 600;

/// Where files lie on machines on which they are written: paths into these tell of one.
const MACHINE_PLACES: &[&str] = &["/work", "/root", "/home", "/Users", "C:\\Users"];

#[test]
fn imports_run_one_way() {
    let mut faults = Vec::new();
    for (path, text) in files("src", "rs") {
        faults.extend(import_faults(&path, &text, MAY_USE));
    }
    assert_clean(&faults);
}

#[test]
fn formats_take_plain_values() {
    let mut faults = Vec::new();
    for (path, text) in files("src/export", "rs") {
        faults.extend(format_faults(&path, &text));
    }
    assert_clean(&faults);
}

#[test]
fn files_stay_short() {
    let faults = rust_files().into_iter().filter_map(|(path, text)| length_fault(&path, &text));
    assert_clean(&faults.collect::<Vec<_>>());
}

#[test]
fn unsafe_code_stays_in_the_listed_files() {
    let mut faults = Vec::new();
    for (path, text) in rust_files() {
        faults.extend(unsafe_fault(&path, &text, UNSAFE_FILES));
    }
    for listed in UNSAFE_FILES {
        let text = fs::read_to_string(root().join(listed)).unwrap_or_default();
        if !has_word(&code_of(&text), "unsafe") {
            faults.push(format!("{listed}: listed for unsafe code but has none; take it off the list"));
        }
    }
    assert_clean(&faults);
}

#[test]
fn every_feature_is_in_the_readme() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    match fs::read_to_string(root().join("README.md")) {
        Ok(readme) => assert_clean(&feature_faults(&manifest, &readme)),
        Err(error) => println!("skipped: README.md: {error}"),
    }
}

#[test]
fn no_file_tells_where_it_was_written() {
    let mut faults = Vec::new();
    for (path, text) in text_files() {
        // This file holds the list itself.
        if path != "tests/tidy.rs" {
            faults.extend(machine_path_faults(&path, &text));
        }
    }
    assert_clean(&faults);
}

#[test]
fn the_checkers_see_planted_faults() {
    let rules: &[(&str, &[&str])] = &[("event", &[]), ("ring", &["event"]), ("dedup", &["event"])];
    let imports = |path: &str, text: &str| import_faults(path, text, rules).len();
    assert_eq!(imports("src/ring.rs", "use crate::event::Record;\nuse crate::ring::x;\n"), 0);
    assert_eq!(imports("src/event/record.rs", "use crate::ring::Ring;\n"), 1);
    assert_eq!(imports("src/event.rs", "fn f() -> crate::dedup::Set { todo() }\n"), 1);
    assert_eq!(imports("src/ring.rs", "use crate::{event::Record, dedup::Set};\n"), 1);
    assert_eq!(imports("src/ring.rs", "use crate::{\n    event::{A, B},\n    dedup::{C, D},\n};\n"), 1);
    assert_eq!(imports("src/ring.rs", "// crate::dedup in prose\n/// [`crate::dedup`]\n"), 0);
    assert_eq!(imports("src/ring.rs", "let text = \"crate::dedup::x\";\n"), 0);
    assert_eq!(imports("src/ring.rs", "crate::payload! {}\nuse crate::payload;\n"), 0);
    assert_eq!(imports("src/other.rs", "use crate::event::Record;\n"), 1);
    assert_eq!(imports("src/lib.rs", "pub use crate::dedup::Set;\n"), 0);
    assert_eq!(imports("src/ring/cell.rs", "use super::super::dedup::Set;\n"), 1);

    let formats = |path: &str| format_faults(path, "use crate::pipeline::Snapshot;\n").len();
    assert_eq!((formats("src/export/csv.rs"), formats("src/export/from_snapshot/x.rs")), (1, 0));

    assert!(length_fault("a.rs", &"x\n".repeat(LINES_MAX)).is_none());
    assert!(length_fault("a.rs", &"x\n".repeat(LINES_MAX + 1)).is_some());

    let unsafe_in = |text: &str| unsafe_fault("src/a.rs", text, &["src/b.rs"]).is_some();
    assert!(unsafe_in("let x = unsafe { y() };"));
    assert!(unsafe_in("let quote = '\"'; unsafe { y() } // \""));
    assert!(unsafe_in("fn f<'a>(x: &'a str) { unsafe { y() } }"));
    assert!(!unsafe_in(
        "// unsafe in prose\n/* unsafe */ let unsafe_code = \"unsafe\"; let r = r#\"\" unsafe\"#;"
    ));
    assert!(unsafe_fault("src/b.rs", "unsafe {}", &["src/b.rs"]).is_none());

    let manifest = "[package]\nname = \"x\"\n[features]\ndefault = []\n# Text.\njson = [\"dep:serde\"]\ncsv = []\n[dependencies]\nrtrb = \"1\"\n";
    assert_eq!(feature_faults(manifest, "| `json` | lines |\n| `csv` | tables |\n").len(), 0);
    assert_eq!(feature_faults(manifest, "| `json` | lines |\nalso `csv`\n").len(), 1);

    assert_eq!(machine_path_faults("a.md", "see /usr/share\n").len(), 0);
    for told in machine_paths() {
        let text = format!("fine\nsee {told}x\n");
        assert_eq!(machine_path_faults("a.md", &text), [format!("a.md:2: tells of {told}")]);
    }
}

/// Texts that tell where a file was written.
fn machine_paths() -> impl Iterator<Item = String> {
    MACHINE_PLACES
        .iter()
        .map(|place| if place.starts_with('/') { format!("{place}/") } else { (*place).to_owned() })
}

fn import_faults(path: &str, text: &str, rules: &[(&str, &[&str])]) -> Vec<String> {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    let module = inner.split('/').next().unwrap_or(inner).trim_end_matches(".rs");
    if module == "lib" {
        return Vec::new();
    }
    let known = |name: &str| rules.iter().any(|(module, _)| *module == name);
    let Some((_, allowed)) = rules.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{path}: the module {module} has no row in MAY_USE")];
    };
    let code = code_of(text);
    let mut faults: Vec<_> = crate_paths(&code)
        .into_iter()
        .filter(|used| used != module && known(used) && !allowed.contains(&used.as_str()))
        .map(|used| format!("{path}: {module} must not use {used}"))
        .collect();
    if code.contains("super::super::") {
        faults.push(format!("{path}: name what is above the module by a crate:: path, not super::super::"));
    }
    faults
}

fn format_faults(path: &str, text: &str) -> Vec<String> {
    if path.starts_with("src/export/from_snapshot") {
        return Vec::new();
    }
    let used = crate_paths(&code_of(text));
    let used = used.into_iter().filter(|used| FORMATS_MUST_NOT_USE.contains(&used.as_str()));
    used.map(|used| format!("{path}: a format must not use {used}; src/export/from_snapshot may")).collect()
}

/// The first names of all paths that begin with `crate::`, also those in braces.
fn crate_paths(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        // `$crate::` in a macro is a path of this crate too; `other_crate::` is not.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = code[at + "crate::".len()..].trim_start();
        match rest.strip_prefix('{') {
            Some(group) => names.extend(group_heads(group)),
            None => names.push(identifier(rest)),
        }
    }
    names
}

/// The first name of each member of a group whose opening brace is gone.
fn group_heads(group: &str) -> Vec<String> {
    let (mut names, mut depth, mut member_start) = (Vec::new(), 0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => member_start = true,
            c if member_start && !c.is_whitespace() => {
                names.push(identifier(&group[at..]));
                member_start = false;
            }
            _ => {}
        }
    }
    names
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn length_fault(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > LINES_MAX).then(|| {
        format!("{path}: {lines} lines, more than {LINES_MAX}; find the part that wants its own name")
    })
}

fn unsafe_fault(path: &str, text: &str, listed: &[&str]) -> Option<String> {
    (has_word(&code_of(text), "unsafe") && !listed.contains(&path))
        .then(|| format!("{path}: unsafe code in a file that is not listed for it"))
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
}

fn feature_faults(manifest: &str, readme: &str) -> Vec<String> {
    let lines = manifest.lines().skip_while(|line| line.trim() != "[features]").skip(1);
    lines
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once('=').map(|(name, _)| name.trim()))
        .filter(|name| *name != "default")
        .filter(|name| !readme.lines().any(|row| row.starts_with(&format!("| `{name}` |"))))
        .map(|name| format!("README.md: no table row begins with | `{name}` |"))
        .collect()
}

fn machine_path_faults(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().enumerate();
    lines
        .flat_map(|(number, line)| {
            let told = machine_paths().filter(move |told| line.contains(told));
            told.map(move |told| format!("{path}:{}: tells of {told}", number + 1))
        })
        .collect()
}

/// Returns the source without comments, and with empty strings and characters in place of literals.
fn code_of(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let at = |n: usize| bytes.get(n).copied().unwrap_or('\0');
    let (mut code, mut n) = (String::with_capacity(text.len()), 0);
    while n < bytes.len() {
        match (at(n), at(n + 1)) {
            ('/', '/') => n = find(&bytes, n, &['\n']),
            ('/', '*') => n = find(&bytes, n, &['*', '/']) + 2,
            ('r', '"' | '#') if !code.ends_with(|c: char| c.is_alphanumeric() || c == '_') => {
                let hashes = bytes[n + 1..].iter().take_while(|c| **c == '#').count();
                if at(n + 1 + hashes) == '"' {
                    let mut end = vec!['"'];
                    end.extend(std::iter::repeat_n('#', hashes));
                    n = find(&bytes, n + 2 + hashes, &end) + end.len();
                } else {
                    code.push('r');
                    n += 1;
                }
            }
            ('"', _) => {
                n += 1;
                while n < bytes.len() && at(n) != '"' {
                    n += if at(n) == '\\' { 2 } else { 1 };
                }
                n += 1;
                code.push_str("\"\"");
            }
            // A character, not a lifetime.
            ('\'', '\\') => n = find(&bytes, n + 3, &['\'']) + 1,
            ('\'', _) if at(n + 2) == '\'' => n += 3,
            (c, _) => {
                code.push(c);
                n += 1;
            }
        }
    }
    code
}

fn find(text: &[char], from: usize, what: &[char]) -> usize {
    (from..text.len()).find(|n| text[*n..].starts_with(what)).unwrap_or(text.len())
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files() -> Vec<(String, String)> {
    files("", "rs")
}

fn text_files() -> Vec<(String, String)> {
    ["rs", "toml", "md", "py", "yml", "yaml", "json", "sh", "run"]
        .iter()
        .flat_map(|ending| files("", ending))
        .collect()
}

/// The files below `folder` whose name ends so, with their text, by path from the repository's root.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if !matches!(name.as_str(), "target" | ".git") {
                    folders.push(path);
                }
            } else if name.rsplit('.').next() == Some(ending)
                && let Ok(text) = fs::read_to_string(&path)
            {
                found.push((slashes(&path), text));
            }
        }
    }
    found.sort();
    found
}

fn slashes(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

fn assert_clean(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}
