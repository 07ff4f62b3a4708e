//! Enough of a Rust reader to find the paths that a file uses: comments and literals go, `use` trees are unfolded.
//!
//! It does not expand macros and does not resolve names. Items under `#[cfg(test)]`, and those
//! that only the feature `testing` compiles, are left out: tests may use anything.

/// What the reader keeps of a source file: words and punctuation, with their lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// A path that starts at `crate` (or at `annals`, for a program), as far as the first two names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) root: &'static str,
    pub(crate) name: String,
    pub(crate) line: usize,
}

/// Splits a file into tokens without comments and literals.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut out = Vec::new();
    let mut at = 0;
    let mut line = 1;
    while at < chars.len() {
        let start = at;
        let next = chars.get(at + 1).copied();
        match chars[at] {
            '/' if next == Some('/') => at = until(&chars, at, '\n'),
            '/' if next == Some('*') => at = block_comment(&chars, at),
            '"' => at = string(&chars, at),
            '\'' => at = quote(&chars, at),
            'r' | 'b' | 'c' if literal_prefix(&chars, at).is_some() => {
                let (quote_at, hashes, raw) = literal_prefix(&chars, at).expect("just seen");
                at = match (raw, chars[quote_at]) {
                    (true, _) => raw_string(&chars, quote_at, hashes),
                    (false, '"') => string(&chars, quote_at),
                    (false, _) => quote(&chars, quote_at),
                };
            }
            first if first.is_alphanumeric() || first == '_' => {
                while at < chars.len() && (chars[at].is_alphanumeric() || chars[at] == '_') {
                    at += 1;
                }
                out.push(Token { text: chars[start..at].iter().collect(), line });
            }
            ':' if next == Some(':') => {
                at += 2;
                out.push(Token { text: "::".to_owned(), line });
            }
            other => {
                at += 1;
                if !other.is_whitespace() {
                    out.push(Token { text: other.to_string(), line });
                }
            }
        }
        line += chars[start..at.min(chars.len())].iter().filter(|char| **char == '\n').count();
    }
    out
}

fn until(chars: &[char], mut at: usize, end: char) -> usize {
    while at < chars.len() && chars[at] != end {
        at += 1;
    }
    at
}

fn block_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    break;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn string(chars: &[char], mut at: usize) -> usize {
    at += 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn raw_string(chars: &[char], mut at: usize, hashes: usize) -> usize {
    at += 1;
    while at < chars.len() {
        if chars[at] == '"' && chars[at + 1..].iter().take_while(|char| **char == '#').count() >= hashes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    at
}

/// A character literal, or the apostrophe of a lifetime.
fn quote(chars: &[char], at: usize) -> usize {
    match chars.get(at + 1) {
        Some('\\') => until(chars, at + 3, '\'') + 1,
        Some(_) if chars.get(at + 2) == Some(&'\'') => at + 3,
        _ => at + 1,
    }
}

/// For `r"`, `r#"`, `b"`, `br"`, `c"`, `b'`: where the quote is, how many hashes, whether raw.
fn literal_prefix(chars: &[char], start: usize) -> Option<(usize, usize, bool)> {
    if start > 0 && (chars[start - 1].is_alphanumeric() || chars[start - 1] == '_') {
        return None;
    }
    let mut at = start;
    if matches!(chars[at], 'b' | 'c') {
        at += 1;
    }
    let raw = chars.get(at) == Some(&'r');
    if raw {
        at += 1;
    }
    let hashes = chars.get(at..)?.iter().take_while(|char| **char == '#').count();
    let quote_at = at + hashes;
    match chars.get(quote_at)? {
        '"' if raw || hashes == 0 => Some((quote_at, hashes, raw)),
        '\'' if !raw && hashes == 0 && at > start => Some((quote_at, 0, false)),
        _ => None,
    }
}

/// The attributes of what a release does not contain, in tokens: literals are gone by then.
const TEST_ATTRIBUTES: [&str; 2] = ["#[cfg(test)]", "#[cfg(any(test,feature=))]"];

/// Behind the attribute that starts at `at` and marks an item as test code; none if there is no such attribute.
fn test_attribute_end(tokens: &[Token], at: usize) -> Option<usize> {
    let mut text = String::new();
    for (offset, token) in tokens.get(at..)?.iter().take(16).enumerate() {
        text.push_str(&token.text);
        if TEST_ATTRIBUTES.contains(&text.as_str()) {
            return Some(at + offset + 1);
        }
    }
    None
}

/// Leaves out every item that is test code.
pub(crate) fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if let Some(item) = test_attribute_end(tokens, at) {
            at = item_end(tokens, item);
        } else {
            out.push(tokens[at].clone());
            at += 1;
        }
    }
    out
}

/// The modules in files of their own that are declared as test code.
pub(crate) fn test_modules(tokens: &[Token]) -> Vec<String> {
    let mut out = Vec::new();
    for at in 0..tokens.len() {
        let Some(item) = test_attribute_end(tokens, at) else { continue };
        let item = &tokens[item..item_end(tokens, item)];
        let declares = |window: &&[Token]| window[0].text == "mod" && window[2].text == ";";
        if let Some(window) = item.windows(3).next_back().filter(declares) {
            out.push(window[1].text.clone());
        }
    }
    out
}

/// Behind the item that starts at `at`: its `;` or the end of its braces.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "{" | "(" | "[" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

/// The first names behind `crate::` and `annals::`, groups unfolded. `super`s that reach the crate's root count as `crate`;
/// `module_depth` says how many modules deep the file itself is.
pub(crate) fn used(tokens: &[Token], module_depth: usize) -> Vec<Used> {
    let mut out = Vec::new();
    // The braces that belong to modules written inside the file.
    let mut inline = Vec::new();
    let mut depth = 0_usize;
    for at in 0..tokens.len() {
        let text = |offset: usize| tokens.get(at + offset).map_or("", |token| token.text.as_str());
        match text(0) {
            "mod" if text(2) == "{" => inline.push(depth),
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if inline.last() == Some(&depth) {
                    inline.pop();
                }
            }
            "crate" if text(1) == "::" => first_names(tokens, at + 2, "crate", &mut out),
            "annals" if text(1) == "::" && (at == 0 || tokens[at - 1].text != "::") => {
                first_names(tokens, at + 2, "annals", &mut out);
            }
            "super" if text(1) == "::" && (at == 0 || tokens[at - 1].text != "::") => {
                let mut count = 1;
                while text(2 * count) == "super" && text(2 * count + 1) == "::" {
                    count += 1;
                }
                if count >= module_depth + inline.len() {
                    first_names(tokens, at + 2 * count, "crate", &mut out);
                }
            }
            _ => {}
        }
    }
    out
}

fn first_names(tokens: &[Token], mut at: usize, root: &'static str, out: &mut Vec<Used>) {
    let Some(first) = tokens.get(at) else { return };
    if first.text != "{" {
        out.push(Used { root, name: first.text.clone(), line: first.line });
        return;
    }
    let mut depth = 0;
    let mut expect_name = false;
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "{" => {
                depth += 1;
                expect_name = depth == 1;
            }
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return;
                }
            }
            "," => expect_name = depth == 1,
            name => {
                if expect_name {
                    out.push(Used { root, name: name.to_owned(), line: token.line });
                }
                expect_name = false;
            }
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &[(&str, usize)]) {
        let found = used(&without_tests(&tokens(source)), 1);
        let found: Vec<(&str, usize)> = found.iter().map(|used| (used.name.as_str(), used.line)).collect();
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn plain_grouped_and_inline_paths_are_found_with_their_lines() {
        check("use crate::key::Key;\nuse crate::{a::B, c::{D, e::F}, g};\n", &[("key", 1), ("a", 2), ("c", 2), ("g", 2)]);
        check("fn f() {\n    crate::wal::open()\n}", &[("wal", 2)]);
        check("use crate::\n{\n    x::Y,\n};", &[("x", 3)]);
    }

    #[test]
    fn visibility_comments_strings_and_tests_are_not_uses() {
        check("pub(crate) fn f() {}", &[]);
        check("// crate::a\n/* crate::b /* */ crate::c */ //! crate::d\n", &[]);
        check("let x = \"crate::a \\\" crate::b\"; let y = r#\"crate::c \" crate::d\"#; let z = b\"crate::e\";", &[]);
        check("let quote = '\"'; crate::a(); let other = '\\''; crate::b::<'static>();", &[("a", 1), ("b", 1)]);
        check("#[cfg(test)]\nmod tests {\n    use crate::a::B;\n}\nuse crate::c::D;", &[("c", 5)]);
        check("#[cfg(test)]\nmod tests;\nuse crate::c::D;", &[("c", 3)]);
        check("#[cfg(any(test, feature = \"testing\"))]\nimpl A { fn f() { crate::b() } }\nuse crate::c::D;", &[("c", 3)]);
        check("#[cfg(not(any(test, feature = \"testing\")))]\nuse crate::a::B;", &[("a", 2)]);
    }

    #[test]
    fn modules_of_test_code_are_known_by_their_declaration() {
        let source = "mod a;\n#[cfg(test)]\nmod tests;\n#[cfg(any(test, feature = \"testing\"))]\npub(crate) mod doors;\nmod b;";
        assert_eq!(test_modules(&tokens(source)), ["tests", "doors"]);
        assert_eq!(test_modules(&tokens("#[cfg(test)]\nmod tests { mod inner; }")), Vec::<String>::new());
    }

    #[test]
    fn supers_that_reach_the_root_count_as_crate() {
        check("use super::env::Fs;", &[("env", 1)]);
        check("mod inner { use super::here; use super::super::env::Fs; }", &[("env", 1)]);
        let nested = used(&tokens("use super::sibling; use super::super::{key::Key, wal::Wal};"), 2);
        assert_eq!(nested.iter().map(|used| used.name.as_str()).collect::<Vec<_>>(), ["key", "wal"]);
    }
}
