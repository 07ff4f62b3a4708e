//! The program as people and scripts meet it: the built binary, its answers, its exit codes.
//!
//! Each test has a store of its own in a temporary directory. What the verbs do to the data is the library's to test; here it is
//! the arguments, the shape of the answers, what is said where nothing could be done, and the import.
#![cfg(feature = "cli")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail by panic, and makes files for the program to read"
)]

mod bench;
mod import;
mod lines;
mod store;
mod tour;
mod verbs;

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value as Json;
use tempfile::TempDir;

/// A directory with a place for a store, and the program beside it.
struct Bench {
    directory: TempDir,
}

/// What a run of the program left behind.
struct Answer {
    code: i32,
    stdout: Vec<u8>,
    stderr: String,
}

impl Bench {
    /// No store yet.
    fn empty() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// A store with a bucket `b` that keeps five entries of each key.
    fn with_bucket() -> Self {
        let bench = Self::empty();
        bench.run("bucket add b --history 5").ok();
        bench
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// A path beside the store.
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file beside the store, with the directories above it.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Runs the program on the store with the words of `line`.
    fn run(&self, line: &str) -> Answer {
        self.run_words(line.split(' '))
    }

    fn run_words(&self, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Answer {
        self.feed(words, b"")
    }

    /// Runs the program with something on its stdin.
    fn feed(&self, words: impl IntoIterator<Item = impl AsRef<OsStr>>, stdin: &[u8]) -> Answer {
        let mut command = program();
        let mut child = command.arg("--store").arg(self.store()).args(words).stdin(Stdio::piped()).spawn().unwrap();
        // The program may end without reading.
        let _unread = child.stdin.take().unwrap().write_all(stdin);
        Answer::from(child.wait_with_output().unwrap())
    }

    fn import(&self, source: &Path, more: &str) -> Answer {
        let words = ["import", source.to_str().unwrap()].into_iter().chain(more.split(' ')).filter(|word| !word.is_empty());
        self.run_words(words)
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8(output.stderr).unwrap();
        Self { code: output.status.code().unwrap_or(-1), stdout: output.stdout, stderr }
    }
}

impl Answer {
    /// Demands success with nothing said on stderr.
    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "stdout: {}", self.text());
        self
    }

    /// Demands an exit code, and that stderr names what it happened to and what to do next.
    #[track_caller]
    fn fails(self, code: i32, named: &str) -> Self {
        assert_eq!(self.code, code, "stderr: {}", self.stderr);
        assert!(self.stderr.contains(named), "{named} is not in: {}", self.stderr);
        assert!(self.stderr.contains("error: ") && self.stderr.contains("next: "), "{}", self.stderr);
        self
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    fn lines(&self) -> Vec<&str> {
        self.text().lines().collect()
    }

    /// The one JSON object that was answered.
    #[track_caller]
    fn json(&self) -> Json {
        let objects = self.json_lines();
        assert_eq!(objects.len(), 1, "{}", self.text());
        objects[0].clone()
    }

    #[track_caller]
    fn json_lines(&self) -> Vec<Json> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
