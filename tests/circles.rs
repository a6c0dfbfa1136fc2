//! Promise: no files of the library import each other in a circle, within a module or across modules.
//!
//! What a file takes from another is read from its syntax tree: paths that begin with `crate`, `self` or `super`, and `use`
//! of child modules. A name that a module only hands on (`pub use`) is followed to the file that defines it. Tests within
//! files are left out: they may use what stands above.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};

/// A module's path within the crate; the crate itself is empty.
type Module = Vec<String>;

/// A file's names, and what it takes.
#[derive(Default)]
struct File {
    path: String,
    children: BTreeSet<String>,
    defined: BTreeSet<String>,
    /// Names that it hands on, and the path of each.
    handed_on: BTreeMap<String, Vec<String>>,
    /// Modules of which it hands on all.
    globs: Vec<Vec<String>>,
    /// Paths that it takes, from the crate's root on.
    taken: BTreeSet<Vec<String>>,
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    let sources = files.iter().map(|path| (relative(path), fs::read_to_string(path).unwrap()));
    let circles = circles(&sources.collect::<Vec<_>>());
    assert!(circles.is_empty(), "files import each other in a circle:\n{}", circles.join("\n"));
}

#[test]
fn a_planted_circle_is_found() {
    let found = |files: &[(&str, &str)]| {
        let files: Vec<_> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        circles(&files)
    };
    let lib = ("src/lib.rs", "pub mod a;\npub mod b;");
    // By paths, in code and in `use`, and by a name that a parent hands on.
    assert_eq!(found(&[lib, ("src/a.rs", "pub struct A;"), ("src/b.rs", "use crate::a::A;")]).len(), 0);
    let circle = found(&[
        lib,
        ("src/a.rs", "pub struct A(crate::b::B);"),
        ("src/b.rs", "use crate::a::A;\npub struct B;"),
    ]);
    assert_eq!(circle, ["src/a.rs -> src/b.rs: B\nsrc/b.rs -> src/a.rs: A"]);
    let parent = ("src/a.rs", "mod x;\nmod y;\npub use x::X;\npub use y::Y;");
    let within = [lib, parent, ("src/a/x.rs", "use super::Y;\npub struct X;"), ("src/b.rs", "")];
    assert_eq!(found(&[&within[..], &[("src/a/y.rs", "pub struct Y;")]].concat()).len(), 0);
    assert_eq!(
        found(&[&within[..], &[("src/a/y.rs", "pub struct Y;\nfn f() -> crate::a::X { loop {} }")]].concat())
            .len(),
        1
    );
    let nested = [lib, ("src/a.rs", "mod x;\nuse x::X;\npub struct A;"), ("src/b.rs", "")];
    assert_eq!(found(&[&nested[..], &[("src/a/x.rs", "use crate::a::A;\npub struct X;")]].concat()).len(), 1);
    assert_eq!(found(&[&nested[..], &[("src/a/x.rs", "pub struct X;")]].concat()).len(), 0);
    // Of a test it is none.
    let test = "pub struct X;\n#[cfg(test)]\nmod tests { use crate::a::A; }\n#[cfg(all(test, loom))]\nmod models { use crate::a::A; }";
    assert_eq!(found(&[&nested[..], &[("src/a/x.rs", test)]].concat()).len(), 0);
}

/// Returns the circles, each as the arrows in it.
fn circles(sources: &[(String, String)]) -> Vec<String> {
    let mut files = BTreeMap::new();
    for (path, text) in sources {
        let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let module = module_of(path);
        let mut reader =
            Reader { file: File { path: path.clone(), ..File::default() }, module: module.clone() };
        reader.visit_file(&syntax);
        files.insert(module, reader.file);
    }
    let mut arrows: BTreeMap<&str, BTreeMap<&str, BTreeSet<String>>> = BTreeMap::new();
    for file in files.values() {
        for taken in &file.taken {
            if let Some((to, name)) = resolve(&files, taken, 0).filter(|(to, _)| to.path != file.path) {
                arrows.entry(&file.path).or_default().entry(&to.path).or_default().insert(name);
            }
        }
    }
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for from in arrows.keys() {
        let circle: BTreeSet<&str> =
            reach(&arrows, from).into_iter().filter(|to| reach(&arrows, to).contains(from)).collect();
        if circle.is_empty() || !seen.insert(circle.clone()) {
            continue;
        }
        let mut lines = Vec::new();
        for (from, to) in arrows.iter().filter(|(from, _)| circle.contains(*from)) {
            for (to, names) in to.iter().filter(|(to, _)| circle.contains(*to)) {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                lines.push(format!("{from} -> {to}: {}", names.join(", ")));
            }
        }
        found.push(lines.join("\n"));
    }
    found
}

/// Returns all that can be reached from there by at least one arrow.
fn reach<'a>(
    arrows: &BTreeMap<&'a str, BTreeMap<&'a str, BTreeSet<String>>>,
    from: &str,
) -> BTreeSet<&'a str> {
    let (mut reached, mut left) = (BTreeSet::new(), vec![from]);
    while let Some(at) = left.pop() {
        for to in arrows.get(at).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(*to) {
                left.push(to);
            }
        }
    }
    reached
}

/// Returns the file that defines what stands at the end of the path, and its name.
fn resolve<'f>(
    files: &'f BTreeMap<Module, File>,
    path: &[String],
    depth: usize,
) -> Option<(&'f File, String)> {
    let mut module = Module::new();
    let mut file = files.get(&module)?;
    for (at, name) in path.iter().enumerate() {
        if file.children.contains(name) {
            module.push(name.clone());
            file = files.get(&module)?;
            continue;
        }
        let onward = |target: &Vec<String>, rest: &[String]| {
            let path = [target.as_slice(), rest].concat();
            // Hands on its own name, or in a ring: nothing follows.
            (depth < 16).then(|| resolve(files, &path, depth + 1)).flatten()
        };
        if file.defined.contains(name) {
            return Some((file, name.clone()));
        }
        if let Some(target) = file.handed_on.get(name) {
            return onward(target, &path[at + 1..]);
        }
        return file.globs.iter().find_map(|glob| onward(glob, &path[at..]));
    }
    // The module itself was named: what is taken of it stands in other paths.
    None
}

/// Reads one file's syntax tree.
struct Reader {
    file: File,
    module: Module,
}

impl Reader {
    /// Returns the path from the crate's root on, if it leads into the crate.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let first = path.first()?;
        let mut base = match first.as_str() {
            "crate" => Module::new(),
            "self" => self.module.clone(),
            "super" => self.module.split_last()?.1.to_vec(),
            name if self.file.children.contains(name) => {
                return Some([self.module.as_slice(), path].concat());
            }
            _ => return None,
        };
        let mut rest = &path[1..];
        while rest.first().is_some_and(|name| name == "super") {
            base.pop();
            rest = &rest[1..];
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    fn take_use(&mut self, tree: &syn::UseTree, mut path: Vec<String>, hands_on: bool) {
        match tree {
            syn::UseTree::Path(tree_path) => {
                path.push(tree_path.ident.to_string());
                self.take_use(&tree_path.tree, path, hands_on);
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.take_use(tree, path.clone(), hands_on);
                }
            }
            syn::UseTree::Name(name) => {
                let shown = match name.ident.to_string() {
                    own if own == "self" => path.last().cloned().unwrap_or_default(),
                    own => {
                        path.push(own.clone());
                        own
                    }
                };
                self.take_name(&path, shown, hands_on);
            }
            syn::UseTree::Rename(rename) => {
                path.push(rename.ident.to_string());
                self.take_name(&path, rename.rename.to_string(), hands_on);
            }
            syn::UseTree::Glob(_) => {
                if let Some(path) = self.absolute(&path) {
                    self.file.globs.push(path);
                }
            }
        }
    }

    fn take_name(&mut self, path: &[String], shown: String, hands_on: bool) {
        let Some(path) = self.absolute(path) else { return };
        if !hands_on {
            self.file.taken.insert(path.clone());
        }
        // Also what is only imported can be named through this file, by its children.
        self.file.handed_on.entry(shown).or_insert(path);
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_file(&mut self, file: &'ast syn::File) {
        // Children first, since paths may begin with them.
        for item in &file.items {
            match item {
                syn::Item::Mod(module) if module.content.is_none() && !is_test(&module.attrs) => {
                    self.file.children.insert(module.ident.to_string());
                }
                other => self.file.defined.extend(defined_name(other)),
            }
        }
        visit::visit_file(self, file);
    }

    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let hands_on = !matches!(item.vis, syn::Visibility::Inherited);
        self.take_use(&item.tree, Vec::new(), hands_on);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names.len() > 1
            && let Some(path) = self.absolute(&names)
        {
            self.file.taken.insert(path);
        }
        visit::visit_path(self, path);
    }
}

fn defined_name(item: &syn::Item) -> Option<String> {
    let name = match item {
        syn::Item::Const(item) => &item.ident,
        syn::Item::Enum(item) => &item.ident,
        syn::Item::Fn(item) => &item.sig.ident,
        syn::Item::Mod(item) => &item.ident,
        syn::Item::Static(item) => &item.ident,
        syn::Item::Struct(item) => &item.ident,
        syn::Item::Trait(item) => &item.ident,
        syn::Item::Type(item) => &item.ident,
        syn::Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        _ => &[],
    }
}

/// Tells whether it is there only when tests are built.
fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        let text = list.tokens.to_string();
        list.path.is_ident("cfg")
            && (text == "test" || text.starts_with("all (test") || text.starts_with("all(test"))
    })
}

fn module_of(path: &str) -> Module {
    let path = path.strip_prefix("src/").unwrap_or(path);
    let path = path.strip_suffix(".rs").unwrap_or(path);
    if path == "lib" { Module::new() } else { path.split('/').map(str::to_owned).collect() }
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
