//! Keys and patterns against the plainest reading of their rules, for the fuzz target `subject`.
//!
//! The rules are written down a second time here, from the documentation and with none of the code under test: allowed bytes, tokens,
//! what a wildcard stands for. [`check`] panics where the two differ, or where a law of wildcards does not hold.

use crate::error::ErrorKind;
use crate::key::Key;
use crate::subject::Pattern;

const LEN_MAX: usize = 4_000;

/// Text that is mostly valid and often matches: every byte becomes one of these.
const DENSE: &[u8; 8] = b"aab..*>b";

/// Makes a pattern and a key of `data` and checks them. The first byte chooses between free text and a small alphabet.
pub fn check_bytes(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let text = if mode % 2 == 0 {
        String::from_utf8_lossy(rest).into_owned()
    } else {
        rest.iter().map(|byte| if *byte == b'\n' { '\n' } else { char::from(DENSE[usize::from(byte % 8)]) }).collect()
    };
    let (pattern, key) = text.split_once('\n').unwrap_or((&text, &text));
    check(pattern, key);
    // Long texts come rarely by themselves: at the limit, and one over it.
    if mode % 16 == 15 && !key.is_empty() {
        let long = key.repeat(LEN_MAX / key.len() + 1);
        for len in [LEN_MAX, LEN_MAX + 1] {
            if let Some(cut) = long.get(..len) {
                check(pattern, cut);
                check(cut, key);
            }
        }
    }
}

/// Compares what the crate says of a pattern and a key with what the rules say.
pub fn check(pattern: &str, key: &str) {
    check_key(key);
    match Pattern::parse(pattern) {
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidKey, "{pattern:?}: {error}");
            assert!(!is_pattern(pattern), "a valid pattern is refused: {pattern:?}: {error}");
        }
        Ok(parsed) => {
            assert!(is_pattern(pattern), "an invalid pattern is taken: {pattern:?}");
            check_parts(pattern, &parsed);
            if is_key(key) {
                check_match(pattern, &parsed, key);
            }
        }
    }
    if is_key(key) {
        check_laws(key);
    }
}

fn check_key(key: &str) {
    match Key::new(key) {
        Ok(taken) => {
            assert!(is_key(key), "an invalid key is taken: {key:?}");
            assert_eq!(taken.as_str(), key);
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidKey, "{key:?}: {error}");
            assert!(!is_key(key), "a valid key is refused: {key:?}: {error}");
        }
    }
}

fn check_parts(pattern: &str, parsed: &Pattern) {
    let has_wildcard = pattern.split('.').any(|token| matches!(token, "*" | ">"));
    assert_eq!(parsed.exact(), (!has_wildcard).then_some(pattern));
    let literal: usize =
        pattern.split_inclusive('.').take_while(|token| !matches!(token.trim_end_matches('.'), "*" | ">")).map(str::len).sum();
    assert_eq!(parsed.literal_prefix(), &pattern.as_bytes()[..literal], "{pattern:?}");
}

fn check_match(pattern: &str, parsed: &Pattern, key: &str) {
    let expected = matches(&tokens(pattern), &tokens(key));
    assert_eq!(parsed.matches(key.as_bytes()), expected, "pattern {pattern:?}, key {key:?}");
    if expected {
        assert!(key.as_bytes().starts_with(parsed.literal_prefix()), "pattern {pattern:?}, key {key:?}");
    }
}

/// What holds for every key: it matches itself, itself with any token as `*`, every beginning with `>` behind it, and `>`.
fn check_laws(key: &str) {
    let all = tokens(key);
    let expect = |pattern: &str, expected: bool| {
        if pattern.len() <= LEN_MAX {
            let parsed = Pattern::parse(pattern).unwrap_or_else(|error| panic!("made from a key, refused: {pattern:?}: {error}"));
            assert_eq!(parsed.matches(key.as_bytes()), expected, "pattern {pattern:?}, key {key:?}");
        }
    };
    expect(key, true);
    expect(">", true);
    expect(&format!("{key}.>"), false);
    expect(&format!("{key}.*"), false);
    // A few tokens are enough for a law, and a key can have two thousand.
    for at in (0..all.len()).take(8) {
        let mut starred = all.clone();
        starred[at] = "*";
        expect(&starred.join("."), true);
        let mut beginning = all[..at].to_vec();
        beginning.push(">");
        expect(&beginning.join("."), true);
        beginning.pop();
        if at > 0 {
            expect(&beginning.join("."), false);
        }
    }
}

fn tokens(text: &str) -> Vec<&str> {
    text.split('.').collect()
}

fn is_key(key: &str) -> bool {
    key.len() <= LEN_MAX && tokens(key).iter().all(|token| is_plain(token))
}

fn is_pattern(pattern: &str) -> bool {
    let all = tokens(pattern);
    let last = all.len() - 1;
    let is_token = |(at, token): (usize, &&str)| is_plain(token) || *token == "*" || (*token == ">" && at == last);
    pattern.len() <= LEN_MAX && all.iter().enumerate().all(is_token)
}

fn is_plain(token: &str) -> bool {
    !token.is_empty() && token.chars().all(|char| char.is_ascii_alphanumeric() || "-_/=".contains(char))
}

/// By the definition: `*` is any one token, `>` any one or more, everything else itself.
fn matches(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern.split_first(), key.split_first()) {
        (Some((&">", _)), Some(_)) => true,
        (Some((&wanted, pattern)), Some((&token, key))) => (wanted == "*" || wanted == token) && matches(pattern, key),
        (None, None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_naive_rules_say_what_the_documentation_says() {
        for (pattern, key, expected) in [
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            ("*.b", "a.b", true),
            (">", "a", true),
            ("a", "a.b", false),
        ] {
            assert_eq!(matches(&tokens(pattern), &tokens(key)), expected, "{pattern} {key}");
            check(pattern, key);
        }
        for text in ["", ".", "a.", ".a", "a..b", "a b", "a*", "a.>.b", ">a", "\u{e9}"] {
            assert!(!is_pattern(text), "{text:?}");
            check(text, text);
        }
    }

    proptest! {
        #[test]
        fn keys_and_patterns_follow_the_naive_rules(data: Vec<u8>) {
            check_bytes(&data);
        }

        #[test]
        fn dense_keys_and_patterns_follow_the_naive_rules(pattern in "[ab.*>]{0,8}", key in "[ab.]{0,8}") {
            check(&pattern, &key);
        }
    }
}
