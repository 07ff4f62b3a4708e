//! Paths as keys and back: one token per component, every byte outside `[A-Za-z0-9_-]` as `=XX`.
//!
//! `import` names entries with it. Both directions are exact: different paths have different keys, and a key that this module did
//! not make decodes to nothing. So only plain relative paths have keys, and no key leads out of the directory that it is joined
//! to. Lengths are not checked here: the library says which keys are too long.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// The key of a relative path; `None` if it is empty or has other than plain components.
pub(crate) fn encode(path: &Path) -> Option<String> {
    let mut key = String::new();
    for component in path.components() {
        let Component::Normal(name) = component else { return None };
        if !key.is_empty() {
            key.push('.');
        }
        for &byte in name.as_bytes() {
            if is_plain(byte) {
                key.push(byte.into());
            } else {
                key.extend(['=', HEX[usize::from(byte >> 4)].into(), HEX[usize::from(byte & 15)].into()]);
            }
        }
    }
    Some(key).filter(|key| !key.is_empty())
}

/// The path that [`encode`] made this key of; `None` if it made it of none.
pub(crate) fn decode(key: &str) -> Option<PathBuf> {
    key.split('.').map(decode_token).collect()
}

fn decode_token(token: &str) -> Option<PathBuf> {
    let mut name = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        if is_plain(byte) {
            name.push(byte);
        } else if byte == b'=' {
            let decoded = (digit(rest.next()?)? << 4) | digit(rest.next()?)?;
            if is_plain(decoded) || decoded == b'/' || decoded == 0 {
                return None;
            }
            name.push(decoded);
        } else {
            return None;
        }
    }
    let special = name.is_empty() || name == b"." || name == b"..";
    if special { None } else { Some(PathBuf::from(OsStr::from_bytes(&name))) }
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn digit(byte: u8) -> Option<u8> {
    HEX.iter().position(|digit| *digit == byte).and_then(|at| u8::try_from(at).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_key_of_a_path_reads_like_the_path() {
        for (path, key) in [
            ("src/main.rs", "src.main=2Ers"),
            ("a", "a"),
            (".git/HEAD", "=2Egit.HEAD"),
            ("a=b c", "a=3Db=20c"),
            ("\u{e9}", "=C3=A9"),
            ("a//b/./c", "a.b.c"),
        ] {
            assert_eq!(encode(Path::new(path)).as_deref(), Some(key));
        }
    }

    #[test]
    fn paths_that_are_not_plain_and_relative_have_no_key() {
        for path in ["", ".", "..", "../a", "/a", "a/../b"] {
            assert_eq!(encode(Path::new(path)), None, "{path}");
        }
    }

    #[test]
    fn keys_that_no_path_has_decode_to_nothing() {
        let keys =
            ["", ".", "a..b", "a.", "=", "=2", "=2e", "=41", "=2F", "=00", "=2E", "=2E=2E.etc", "a/b", "a b", "=G0", "\u{e9}"];
        for key in keys {
            assert_eq!(decode(key), None, "{key}");
        }
    }

    fn name() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>().prop_filter("no separator, no end", |byte| *byte != b'/' && *byte != 0), 1..12)
            .prop_filter("a plain component", |name| name != b"." && name != b"..")
    }

    proptest! {
        /// Any names of any bytes, as components of a path.
        #[test]
        fn every_path_comes_back_from_its_key(names in proptest::collection::vec(name(), 1..6)) {
            let path: PathBuf = names.iter().map(|name| OsStr::from_bytes(name)).collect();
            let key = encode(&path).unwrap();
            prop_assert!(key.bytes().all(|byte| is_plain(byte) || byte == b'=' || byte == b'.'));
            prop_assert_eq!(decode(&key), Some(path));
        }

        /// Strings that are often nearly keys.
        #[test]
        fn a_key_that_decodes_is_the_key_of_what_it_decodes_to(key in "([a-c.=/]|=2E|=2F|=4[0-2]|=C3|=0[01]){0,8}") {
            if let Some(path) = decode(&key) {
                prop_assert_eq!(encode(&path), Some(key));
            }
        }
    }
}
