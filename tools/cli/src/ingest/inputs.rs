//! Which captures are read, and what their vantage points are called.

use super::{Args, InputKind};
use crate::results::Failure;
use panther_events::ingest::InputFormat;
use panther_events::ingest::feed::CaptureInput;
use panther_events::paths::VANTAGES_MAX;
use panther_events::run::FILE_NAMES;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Tells what the files are: by what was said, or else by their content.
pub(super) fn kind(args: &Args) -> Result<InputKind, Failure> {
    if let Some(kind) = args.format {
        return Ok(kind);
    }
    let mut first: Option<(&Path, InputKind)> = None;
    for path in args.files.iter().chain(args.vantage.iter().map(|(_, path)| path)) {
        // What is no file, or neither, is told of where it is read as a capture.
        let is_panther =
            path.is_file() && InputFormat::of_file(path).ok() == Some(Some(InputFormat::Panther));
        let kind = if is_panther { InputKind::Panther } else { InputKind::Capture };
        match first {
            Some((other, known)) if known != kind => {
                let (other, path) = (other.display(), path.display());
                let remedy =
                    "give captures and PANTHER's events to one run each, or say what they are with --format";
                return Err(format!("{other} and {path} are of different formats; {remedy}").into());
            }
            _ => first = first.or(Some((path, kind))),
        }
    }
    Ok(first.map_or(InputKind::Capture, |(_, kind)| kind))
}

/// Names each file's vantage point, and refuses files that cannot be meant.
pub(super) fn inputs(args: &Args, kind: InputKind) -> Result<Vec<CaptureInput>, Failure> {
    let is_capture = kind == InputKind::Capture;
    let mut inputs: Vec<CaptureInput> = Vec::new();
    let mut seen: Vec<Identity> = Vec::new();
    for (option, path) in [("--journal", &args.journal), ("--recorder", &args.recorder)] {
        let Some(path) = path else { continue };
        if let Some(name) = result_name(&args.out, path) {
            let (shown, out) = (path.display(), args.out.display());
            let why = format!("the run would replace it as {name} in {out}");
            return Err(format!("{option} {shown}: {why}; choose another name").into());
        }
    }
    let named =
        |path: &Path| args.vantage.iter().find(|(_, named)| named == path).map(|(name, _)| name.clone());
    let extra = args.vantage.iter().map(|(_, path)| path).filter(|path| !args.files.contains(path));
    for path in args.files.iter().chain(extra) {
        let shown = path.display();
        let meta = std::fs::metadata(path).map_err(|error| format!("{shown}: {error}"))?;
        if meta.is_dir() {
            return Err(format!("{shown}: is a directory; give the captures in it").into());
        }
        if is_capture && !meta.is_file() && args.digest_bytes.is_none() {
            let why = "not a regular file, so it can be read only once";
            return Err(format!("{shown}: {why}; give --digest-bytes, or save it to a file first").into());
        }
        let real = identity(path).map_err(|error| format!("{shown}: {error}"))?;
        if seen.contains(&real) {
            return Err(format!("{shown}: given twice; give each capture once").into());
        }
        if let Some(name) = overwritten(&args.out, &real) {
            let out = args.out.display();
            let why = format!("the run would replace it as {name} in {out}");
            return Err(format!("{shown}: {why}; move the capture or choose another --out").into());
        }
        seen.push(real);
        let stem = || path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let vantage = named(path).unwrap_or_else(stem);
        if let Some(other) = inputs.iter().find(|input| is_capture && input.vantage == vantage) {
            let other = other.path.display();
            return Err(format!(
                "{shown} and {other} are both of vantage point {vantage:?}; name them with --vantage NAME=FILE"
            )
            .into());
        }
        inputs.push(CaptureInput { path: path.clone(), vantage });
    }
    if inputs.is_empty() {
        return Err("no capture was given; give one or more files".into());
    }
    if is_capture && inputs.len() > VANTAGES_MAX {
        let given = inputs.len();
        return Err(format!("{given} captures were given; give at most {VANTAGES_MAX} at once").into());
    }
    Ok(inputs)
}

/// Returns the name of a result, where a new file or directory at `path` would take its place in `out`.
fn result_name(out: &Path, path: &Path) -> Option<String> {
    let (out, path) = (resolved(out), resolved(path));
    touched().find(|name| path.starts_with(out.join(name)))
}

/// Follows the links on the way to `path`, as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path.ancestors().find_map(|above| Some((above.canonicalize().ok()?, above)));
    let Some((mut real, above)) = there else { return path };
    for part in path.strip_prefix(above).unwrap_or(Path::new("")).components() {
        match part {
            Component::ParentDir => drop(real.pop()),
            part => real.push(part),
        }
    }
    real
}

/// The names in a result directory that a run writes.
fn touched() -> impl Iterator<Item = String> {
    FILE_NAMES.iter().flat_map(|name| [(*name).to_owned(), format!(".{name}.panther-partial")])
}

/// Returns the name under which a run into `out` would touch a file.
fn overwritten(out: &Path, real: &Identity) -> Option<String> {
    // A file that is not there is not overwritten.
    touched().find(|name| identity(&out.join(name)).is_ok_and(|there| there == *real))
}

/// What tells files apart: hard links and symbolic links are one file with what they lead to.
#[cfg(unix)]
type Identity = (u64, u64);

#[cfg(unix)]
fn identity(path: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

#[cfg(not(unix))]
type Identity = PathBuf;

#[cfg(not(unix))]
fn identity(path: &Path) -> io::Result<Identity> {
    path.canonicalize()
}
