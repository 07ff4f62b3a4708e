//! A store's directory as a whole: read it, write it elsewhere, compare it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// Every file of a directory, by name; a directory in it ends in `/` and counts by its name alone.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A directory for stores that are opened hundreds of times, in memory where the system has such a place.
pub(crate) fn fast_directory() -> TempDir {
    let shared_memory = Path::new("/dev/shm");
    if shared_memory.is_dir() { tempfile::tempdir_in(shared_memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

pub(crate) fn read(directory: &Path) -> Files {
    let mut files = Files::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            files.insert(format!("{name}/"), Vec::new());
        } else {
            files.insert(name, fs::read(&path).unwrap());
        }
    }
    files
}

/// Makes `directory` hold exactly these files.
pub(crate) fn write(directory: &Path, files: &Files) {
    if directory.exists() {
        fs::remove_dir_all(directory).unwrap();
    }
    fs::create_dir(directory).unwrap();
    for (name, bytes) in files {
        match name.strip_suffix('/') {
            Some(name) => fs::create_dir(directory.join(name)).unwrap(),
            None => fs::write(directory.join(name), bytes).unwrap(),
        }
    }
}

/// The names that end so.
pub(crate) fn named(files: &Files, suffix: &str) -> Vec<String> {
    files.keys().filter(|name| name.ends_with(suffix)).cloned().collect()
}

/// Panics naming the first file that differs, without printing its bytes.
pub(crate) fn assert_same(before: &Files, after: &Files, what: &str) {
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "names of files, {what}");
    for (name, bytes) in before {
        assert!(bytes == &after[name], "{name} was changed, {what}");
    }
}
