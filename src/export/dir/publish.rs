//! How the files of a result get their names, in the order that the module's documentation promises.

use crate::directory::{Directory, Entry};
use crate::export::dir::error::{DirError, refused};
use crate::export::dir::list::{List, earlier, may_be_replaced};
use crate::export::dir::name::partial;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Names the files of `ready` for good.
pub(super) fn publish(dir: &Directory, ready: &BTreeMap<String, u64>) -> Result<(), DirError> {
    let earlier = earlier(dir)?;
    for name in ready.keys() {
        let path = dir.path().join(name);
        match may_be_replaced(dir, &earlier, name) {
            Ok(true) => {}
            Ok(false) => return Err(DirError::Foreign { path }),
            Err(error) => return Err(refused("look at the earlier file", &path, error)),
        }
    }
    let there = earlier.iter().flat_map(|(name, sizes)| sizes.iter().map(move |len| (name, *len)));
    place_list(dir, List::Intent, there.chain(ready.iter().map(|(name, len)| (name, *len))))?;
    sync_dir(dir)?;

    remove(dir, List::Manifest.name())?;
    sync_dir(dir)?;

    for name in ready.keys() {
        rename(dir, name)?;
    }
    for (name, sizes) in earlier.iter().filter(|(name, _)| !ready.contains_key(*name)) {
        // One that was changed since is somebody's work.
        if let Ok(Entry::Regular { len }) = dir.entry(name)
            && sizes.contains(&len)
        {
            remove(dir, name)?;
        }
    }
    sync_dir(dir)?;

    place_list(dir, List::Manifest, ready.iter().map(|(name, len)| (name, *len)))?;
    sync_dir(dir)?;
    remove(dir, List::Intent.name())
}

fn place_list<'a>(
    dir: &Directory,
    list: List,
    files: impl Iterator<Item = (&'a String, u64)>,
) -> Result<(), DirError> {
    let name = partial(list.name());
    let write = || -> io::Result<()> {
        interruption(dir, Change::Write(&name))?;
        let mut file = dir.create_new(&name)?;
        file.write_all(list.text(files).as_bytes())?;
        interruption(dir, Change::Sync(&name))?;
        file.sync_all()
    };
    write().map_err(|error| refused("write the list of files", &dir.path().join(&name), error))?;
    rename(dir, list.name())
}

fn rename(dir: &Directory, name: &str) -> Result<(), DirError> {
    let from = partial(name);
    let renamed = interruption(dir, Change::Rename(&from, name)).and_then(|()| dir.rename(&from, name));
    renamed.map_err(|error| refused("rename the finished file", &dir.path().join(name), error))
}

/// Removes the file, where it is still there.
pub(super) fn remove(dir: &Directory, name: &str) -> Result<(), DirError> {
    match interruption(dir, Change::Remove(name)).and_then(|()| dir.remove(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(refused("remove the earlier file", &dir.path().join(name), error))
        }
        _ => Ok(()),
    }
}

fn sync_dir(dir: &Directory) -> Result<(), DirError> {
    let synced = interruption(dir, Change::SyncDir).and_then(|()| dir.sync());
    synced.map_err(|error| refused("sync the directory", dir.path(), error))
}

/// What a commit does to the directory.
#[cfg_attr(not(test), allow(dead_code, reason = "a test looks at it"))]
pub(super) enum Change<'a> {
    Write(&'a str),
    Sync(&'a str),
    Rename(&'a str, &'a str),
    Remove(&'a str),
    SyncDir,
}

/// Stands before every change that a commit makes, so that a test can see their order and stop the commit at each of them.
#[cfg(not(test))]
fn interruption(_dir: &Directory, _change: Change<'_>) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
use crate::export::dir::tests::interruption;
