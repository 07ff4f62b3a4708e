//! Which files a directory tree holds, in order; and, counted and named, what else it holds.
//!
//! The names of all files are kept in memory, so that the work has a known end and can be shared out. Links are not followed, so
//! there are no cycles. Nothing is opened here.

use std::io;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::report::{SkipKind, Skipped};

/// What to leave out, and when to stop.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounds<'a> {
    /// The directory of the store: a store does not import its own files.
    pub(crate) store: Option<&'a Path>,
    /// Names of directories that are passed over wherever they are.
    pub(crate) pass_over: &'a [&'a str],
    /// At most this many files.
    pub(crate) files_max: Option<usize>,
}

/// The regular files of a tree as paths relative to it, in the order of their names.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) skipped: Skipped,
    /// There are more files than the bound allowed.
    pub(crate) cut: bool,
}

pub(crate) fn walk(source: &Path, bounds: Bounds<'_>, verbose: bool) -> Found {
    let store = bounds.store.and_then(|store| store_below(source, store));
    let mut found = Found { files: Vec::new(), skipped: Skipped::new(verbose), cut: false };
    let mut entries = WalkDir::new(source).sort_by_file_name().into_iter();
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or(source);
                found.skipped.add(kind_of(error.io_error()), path.strip_prefix(source).unwrap_or(path), error.io_error());
                continue;
            }
        };
        let Ok(relative) = entry.path().strip_prefix(source) else { continue };
        let kind = entry.file_type();
        if kind.is_dir() {
            if store.as_deref() == Some(relative) {
                found.skipped.add(SkipKind::TheStore, relative, None);
                entries.skip_current_dir();
            } else if is_passed_over(&entry, bounds.pass_over) {
                entries.skip_current_dir();
            }
        } else if kind.is_symlink() {
            found.skipped.add(SkipKind::SymbolicLink, relative, None);
        } else if !kind.is_file() {
            found.skipped.add(SkipKind::NotRegular, relative, None);
        } else if bounds.files_max.is_some_and(|max| found.files.len() >= max) {
            found.cut = true;
            break;
        } else {
            found.files.push(relative.to_owned());
        }
    }
    found
}

/// The kind of a refusal to read something that was there a moment ago.
pub(super) fn kind_of(error: Option<&io::Error>) -> SkipKind {
    match error.map(io::Error::kind) {
        Some(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => SkipKind::Vanished,
        _ => SkipKind::Unreadable,
    }
}

fn is_passed_over(entry: &DirEntry, names: &[&str]) -> bool {
    entry.depth() > 0 && names.iter().any(|name| entry.file_name() == *name)
}

/// Where the store lies in the tree, if it does; the tree itself counts.
fn store_below(source: &Path, store: &Path) -> Option<PathBuf> {
    let (source, store) = (source.canonicalize().ok()?, store.canonicalize().ok()?);
    store.strip_prefix(source).ok().map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            let path = directory.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        directory
    }

    fn names(found: &Found) -> Vec<&str> {
        found.files.iter().map(|path| path.to_str().unwrap()).collect()
    }

    #[test]
    fn files_come_in_the_order_of_their_names() {
        let tree = tree(&["b", "a/z", "a/b/c"]);
        let found = walk(tree.path(), Bounds::default(), false);
        assert_eq!(names(&found), ["a/b/c", "a/z", "b"]);
        assert!(!found.cut && found.skipped.total() == 0);
    }

    #[test]
    fn a_symbolic_link_is_named_and_not_followed() {
        let tree = tree(&["a"]);
        symlink(tree.path(), tree.path().join("loop")).unwrap();
        let found = walk(tree.path(), Bounds::default(), false);
        assert_eq!(names(&found), ["a"]);
        assert_eq!(found.skipped.count(SkipKind::SymbolicLink), 1);
    }

    #[test]
    fn a_store_inside_the_tree_is_left_out_and_said() {
        let tree = tree(&["a", "data/1.log"]);
        let store = tree.path().join("data");
        let found = walk(tree.path(), Bounds { store: Some(&store), ..Bounds::default() }, false);
        assert_eq!(names(&found), ["a"]);
        assert_eq!(found.skipped.count(SkipKind::TheStore), 1);
    }

    #[test]
    fn the_bound_on_files_is_said_only_if_it_cut_something() {
        let tree = tree(&["a", "b", "target/c"]);
        let bounds = |files_max| Bounds { files_max: Some(files_max), pass_over: &["target"], ..Bounds::default() };
        assert!(walk(tree.path(), bounds(1), false).cut);
        assert!(!walk(tree.path(), bounds(2), false).cut);
    }
}
