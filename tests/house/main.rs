//! The house rules that a compiler does not know: who may use whom, what a source file looks like, which texts must agree.
//!
//! Each test gathers everything that it finds before it fails, so that one run shows the whole list.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its sources has nothing better to do")]

mod drawing;
mod source;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 600;
const README_LINES_MAX: usize = 149;

struct Source {
    /// From the root of the repository, with slashes.
    name: String,
    text: String,
}

impl Source {
    /// The module of `src` that the file belongs to: `wal` for `src/wal.rs` and for `src/wal/reader.rs`.
    fn module(&self) -> &str {
        let rest = self.name.strip_prefix("src/").unwrap_or_default();
        rest.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// How many modules deep the file is: 1 for `src/wal.rs` and `src/wal/mod.rs`, 2 for `src/wal/reader.rs`.
    fn module_depth(&self) -> usize {
        let slashes = self.name.matches('/').count();
        if self.name.ends_with("/mod.rs") || self.name.ends_with("/main.rs") { slashes - 1 } else { slashes }
    }

    /// Tests of a module in a file of their own, and what stands beside the house to drive them.
    fn is_test(&self) -> bool {
        self.name.ends_with("tests.rs")
            || self.name.contains("/tests/")
            || self.name.starts_with("tests/")
            || self.name.starts_with("src/testing/")
    }

    /// The directory in which the modules that this file declares lie.
    fn directory(&self) -> &str {
        let stem = self.name.trim_end_matches(".rs");
        ["/mod", "/lib", "/main"].iter().find_map(|end| stem.strip_suffix(end)).unwrap_or(stem)
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// All Rust files under a directory of the repository, in order.
fn sources(directory: &str) -> Vec<Source> {
    let mut out = Vec::new();
    let mut pending = vec![root().join(directory)];
    while let Some(directory) = pending.pop() {
        #[expect(clippy::disallowed_methods, reason = "the seams are for the engine; this reads sources")]
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().is_none_or(|name| name != "target") {
                    pending.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
                out.push(Source { text: read(&path), name });
            }
        }
    }
    out.sort_by(|left, right| left.name.cmp(&right.name));
    out
}

fn all_sources() -> Vec<Source> {
    let all: Vec<Source> = ["src", "tests", "benches", "examples", "fuzz"].iter().flat_map(|part| sources(part)).collect();
    assert!(all.len() > 20, "only {} source files found: this looks in the wrong place", all.len());
    all
}

fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{} times {what}:\n  {}", found.len(), found.join("\n  "));
}

/// What a file of `src` uses that the drawing does not allow.
fn violations(source: &Source) -> Vec<String> {
    let user = source.module();
    let tokens = source::without_tests(&source::tokens(&source.text));
    let mut out = Vec::new();
    for used in source::used(&tokens, source.module_depth()) {
        let at = format!("{}:{}", source.name, used.line);
        let name = used.name.as_str();
        if used.root == "annals" {
            if user == "cli" && matches!(name, "testing" | "env") {
                out.push(format!("{at}: uses annals::{name}, which is not public"));
            }
        } else if user == "cli" {
            // A program is a crate of its own: its `crate` is not the library's.
        } else if name.starts_with(|first: char| first.is_ascii_uppercase()) {
            out.push(format!("{at}: imports {name} through the root instead of from its owner"));
        } else if let Err(why) = drawing::judge(user, name) {
            out.push(format!("{at}: {why}"));
        }
    }
    out
}

#[test]
fn nothing_looks_up_and_nothing_goes_round() {
    let all = sources("src");
    let test_code: Vec<String> = all
        .iter()
        .filter(|source| source.module() != "lib")
        .flat_map(|source| {
            let declared = source::test_modules(&source::tokens(&source.text));
            declared.into_iter().map(|module| format!("{}/{module}", source.directory())).collect::<Vec<_>>()
        })
        .collect();
    let is_test_code = |source: &Source| {
        let declared = |path: &String| source.name == format!("{path}.rs") || source.name.starts_with(&format!("{path}/"));
        source.is_test() || test_code.iter().any(declared)
    };
    let checked: Vec<&Source> = all.iter().filter(|source| !is_test_code(source) && source.module() != "lib").collect();
    assert!(checked.len() > 10, "only {} files checked", checked.len());
    none("a use that the floors do not allow", &checked.into_iter().flat_map(violations).collect::<Vec<_>>());
}

#[test]
fn the_check_of_the_floors_finds_each_kind_of_violation() {
    let check = |name: &str, text: &str, expected: usize| {
        let source = Source { name: name.to_owned(), text: text.to_owned() };
        assert_eq!(violations(&source).len(), expected, "{name}: {text}\n{:?}", violations(&source));
    };
    check("src/engine/mod.rs", "use crate::key::Key; use crate::engine::commit; use crate::wal::{Reader, Writer};", 0);
    check("src/engine/mod.rs", "use crate::store::Store;", 1);
    check("src/wal/reader.rs", "use super::super::engine::Engine;", 1);
    check("src/wal/reader.rs", "use super::format::Header;", 0);
    check("src/wal/mod.rs", "use crate::{codec::Reader, segment::Builder, manifest::Manifest};", 2);
    check("src/merge.rs", "use crate::view::View;", 1);
    check("src/compact/pick.rs", "use crate::merge::Merge; use crate::view::View;", 0);
    check("src/number.rs", "use crate::error::Error;", 1);
    check("src/key.rs", "use crate::Revision; use crate::testing::disk; use crate::nowhere::X;", 3);
    check("src/cli/main.rs", "use annals::{Store, testing::disk}; use crate::table::Table;", 1);
}

#[test]
fn the_drawing_and_the_modules_are_the_same() {
    let built: BTreeSet<String> = sources("src")
        .iter()
        .map(|source| source.module().to_owned())
        .filter(|module| !matches!(module.as_str(), "lib" | "testing"))
        .collect();
    let drawn: BTreeSet<String> = drawing::all().map(|(module, _)| module.to_owned()).collect();
    let missing = built.difference(&drawn).map(|module| format!("{module} is built and not drawn"));
    let invented = drawn.difference(&built).map(|module| format!("{module} is drawn and not built"));
    none("a module on one side only", &missing.chain(invented).collect::<Vec<_>>());
}

#[test]
fn lib_rs_declares_the_modules_from_the_ground_up() {
    let tokens = source::tokens(&read("src/lib.rs"));
    let declared: Vec<&str> = tokens
        .windows(3)
        .filter(|window| window[0].text == "mod" && window[2].text == ";")
        .map(|window| window[1].text.as_str())
        .collect();
    let mut found = Vec::new();
    for source in sources("src").iter().filter(|source| !matches!(source.module(), "lib" | "cli")) {
        if !declared.contains(&source.module()) {
            found.push(format!("{} belongs to no module that lib.rs declares", source.name));
        }
    }
    let floors: Vec<(&str, usize)> =
        declared.iter().filter_map(|module| drawing::place(module).map(|place| (*module, place.floor))).collect();
    for pair in floors.windows(2) {
        if pair[0].1 > pair[1].1 {
            found.push(format!("{} stands before {}, which is on a lower floor", pair[0].0, pair[1].0));
        }
    }
    none("a module out of its place in lib.rs", &found);
}

#[test]
fn architecture_md_shows_the_drawing() {
    let text = read("ARCHITECTURE.md");
    let block = between(&text, "<!-- drawing -->\n```text\n", "```\n<!-- /drawing -->");
    let expected = drawing::render();
    assert!(block == Some(expected.as_str()), "ARCHITECTURE.md must have this between its drawing markers:\n{expected}");
}

#[test]
fn sources_are_ascii() {
    let mut found = Vec::new();
    for source in all_sources() {
        for (number, line) in source.text.lines().enumerate() {
            if let Some(odd) = line.chars().find(|char| !char.is_ascii()) {
                found.push(format!("{}:{}: {}", source.name, number + 1, odd.escape_unicode()));
            }
        }
    }
    none("a character that is not ASCII", &found);
}

#[test]
fn no_file_is_longer_than_it_can_be_read() {
    let long: Vec<String> = sources("src")
        .iter()
        .filter(|source| !source.is_test())
        .map(|source| (source.text.lines().count(), &source.name))
        .filter(|(lines, _)| *lines > FILE_LINES_MAX)
        .map(|(lines, name)| format!("{name}: {lines} lines, at most {FILE_LINES_MAX}"))
        .collect();
    none("a file too long", &long);
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<String> = all_sources()
        .iter()
        .filter(|source| !source.name.ends_with("tests.rs") && !source.name.contains("/tests/"))
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| source.name.clone())
        .collect();
    none("a module without a `//!` as its first line", &silent);
}

#[test]
fn nothing_is_left_undone_or_ignored() {
    let mut found = Vec::new();
    for source in all_sources() {
        let tokens = source::tokens(&source.text);
        for window in tokens.windows(3) {
            let texts = [window[0].text.as_str(), window[1].text.as_str(), window[2].text.as_str()];
            if matches!(texts, ["todo" | "unimplemented", "!", _] | ["#", "[", "ignore"]) {
                found.push(format!("{}:{}: {}", source.name, window[0].line, texts.concat()));
            }
        }
        for (number, line) in source.text.lines().enumerate() {
            // In two parts, so that this line is not found.
            if line.contains(concat!("TO", "DO")) || line.contains(concat!("FIX", "ME")) {
                found.push(format!("{}:{}: {}", source.name, number + 1, line.trim()));
            }
        }
    }
    none("something left undone", &found);
}

#[test]
fn readme_is_short_and_shows_the_program_that_ci_runs() {
    let readme = read("README.md");
    let lines = readme.lines().count();
    assert!(lines <= README_LINES_MAX, "README.md has {lines} lines, at most {README_LINES_MAX}");
    let example = read("examples/quickstart.rs");
    let program: Vec<&str> = example.lines().skip_while(|line| line.starts_with("//!") || line.trim().is_empty()).collect();
    let program = program.join("\n") + "\n";
    let shown = between(&readme, "<!-- quickstart -->\n```rust\n", "```\n");
    assert!(shown == Some(program.as_str()), "README.md must show this behind its quickstart marker:\n{program}");
}

#[test]
fn readme_has_the_commands_that_ci_takes_from_it() {
    let readme = read("README.md");
    for name in ["tour", "test"] {
        let marker = format!("<!-- ci:{name} -->\n```sh\n");
        let command = between(&readme, &marker, "```\n").unwrap_or_default();
        assert!(command.starts_with("cargo "), "README.md has no command behind <!-- ci:{name} -->");
    }
}

/// What stands between two texts; none if either is missing.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let start = text.find(before)? + before.len();
    let rest = text.get(start..)?;
    rest.get(..rest.find(after)?)
}
