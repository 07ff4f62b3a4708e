use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect("a valid pattern")
}

fn refusal(text: &str) -> String {
    let error = Pattern::parse(text).expect_err("an invalid pattern");
    assert_eq!(error.kind(), ErrorKind::InvalidKey, "{text}");
    error.to_string()
}

#[test]
fn patterns_of_conformance_case_54_select_the_keys_given_there() {
    let keys = ["a", "a.b", "a.b.c", "A", "x.b", "a.B"];
    for (text, expected) in [
        ("a", vec!["a"]),
        ("a.*", vec!["a.b", "a.B"]),
        ("a.>", vec!["a.b", "a.b.c", "a.B"]),
        ("*", vec!["a", "A"]),
        ("*.*", vec!["a.b", "x.b", "a.B"]),
        ("*.b", vec!["a.b", "x.b"]),
        ("a.*.c", vec!["a.b.c"]),
        ("*.>", vec!["a.b", "a.b.c", "x.b", "a.B"]),
        (">", keys.to_vec()),
    ] {
        let selected: Vec<_> = keys.into_iter().filter(|key| pattern(text).matches(key.as_bytes())).collect();
        assert_eq!(selected, expected, "{text}");
    }
}

#[test]
fn patterns_of_conformance_case_55_are_refused() {
    for text in ["", ".", "a.", ".a", "a..b", ">.a", "a.>.b", "a b"] {
        refusal(text);
    }
}

#[test]
fn wildcards_inside_a_longer_token_are_refused() {
    for text in ["a*", "*a", "**", ">>", "*>", ">*", "a.b*", "a.*b.c", "a.>b", "a.b>"] {
        assert!(refusal(text).contains("inside a longer token"), "{text}");
    }
}

#[test]
fn messages_name_the_byte_its_position_and_what_to_do() {
    assert_eq!(
        refusal("a.b*"),
        "pattern has byte 0x2a ('*') at position 3 inside a longer token; a wildcard is a token of its own, as in a.* or a.>, \
         pattern=\"a.b*\""
    );
    assert_eq!(
        refusal("a.>.b"),
        "pattern has byte 0x3e ('>') at position 2 with tokens after it; > comes last, use * for one token before the end, \
         pattern=\"a.>.b\""
    );
    assert_eq!(
        refusal("a b"),
        "pattern has byte 0x20 (' ') at position 1; allowed are A-Z a-z 0-9 - _ / = and . between tokens, and * or > as a whole \
         token, pattern=\"a b\""
    );
    assert!(refusal("a.").contains("at position 1 with no token after it"));
    assert!(refusal("a..b").contains("at position 2 with no token before it"));
    assert!(refusal(&"a".repeat(4_001)).starts_with("pattern is too long, length=4001 limit=4000"));
}

#[test]
fn the_literal_prefix_ends_where_the_first_wildcard_begins() {
    for (text, prefix, exact) in [
        ("a.b", "a.b", Some("a.b")),
        ("a.b.*", "a.b.", None),
        ("a.>", "a.", None),
        ("a.*.c.>", "a.", None),
        ("*", "", None),
        (">", "", None),
        (&*"k".repeat(4_000), &*"k".repeat(4_000), Some(&*"k".repeat(4_000))),
    ] {
        assert_eq!(pattern(text).literal_prefix(), prefix.as_bytes(), "{text}");
        assert_eq!(pattern(text).exact(), exact, "{text}");
    }
}

/// Whether a pattern is well formed, and what it selects, by lists of tokens.
fn tokens_by_the_book(text: &str) -> Option<Vec<&str>> {
    let tokens: Vec<_> = text.split('.').collect();
    let last = tokens.len() - 1;
    let plain = |token: &str| !token.is_empty() && token.chars().all(|c| c.is_ascii_alphanumeric() || "-_/=".contains(c));
    let valid = |(index, token): (usize, &&str)| *token == "*" || (*token == ">" && index == last) || plain(token);
    (text.len() <= 4_000 && tokens.iter().enumerate().all(valid)).then_some(tokens)
}

fn matches_by_the_book(pattern: &[&str], key: &[&str]) -> bool {
    match pattern {
        [] => key.is_empty(),
        [">"] => !key.is_empty(),
        [wanted, pattern @ ..] => match key {
            [] => false,
            [token, key @ ..] => (*wanted == "*" || wanted == token) && matches_by_the_book(pattern, key),
        },
    }
}

/// Texts over so few tokens that patterns and keys meet often.
fn tokens(choices: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(choices), 1..6).prop_map(|tokens| tokens.join("."))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_text_is_parsed_by_the_book(text in prop_oneof![any::<String>(), "[a.*>]{0,8}", tokens(&["a", "b", "*", ">"])]) {
        prop_assert_eq!(Pattern::parse(&text).is_ok(), tokens_by_the_book(&text).is_some());
    }

    #[test]
    fn keys_are_matched_by_the_book_and_start_with_the_literal_prefix(
        text in tokens(&["a", "b", "aa", "*", "*", ">"]),
        key in tokens(&["a", "b", "aa", "ab"]),
    ) {
        let Some(book) = tokens_by_the_book(&text) else { return Ok(()) };
        let parsed = pattern(&text);
        let key_tokens: Vec<_> = key.split('.').collect();
        prop_assert_eq!(parsed.matches(key.as_bytes()), matches_by_the_book(&book, &key_tokens));
        if parsed.matches(key.as_bytes()) {
            prop_assert!(key.as_bytes().starts_with(parsed.literal_prefix()));
        }
        prop_assert!(parsed.exact().is_none_or(|exact| parsed.matches(exact.as_bytes())));
    }

    #[test]
    fn a_pattern_made_from_a_key_matches_it(key in tokens(&["a", "b", "aa"]), stars: u8, rest in 1_usize..8) {
        let starred = |(place, token)| if stars >> place & 1 == 1 { "*" } else { token };
        let mut made: Vec<_> = key.split('.').enumerate().map(starred).collect();
        if rest < made.len() {
            made.truncate(rest);
            made.push(">");
        }
        prop_assert!(pattern(&made.join(".")).matches(key.as_bytes()));
    }

    #[test]
    fn matching_arbitrary_bytes_never_panics(text in "[a.*>]{0,8}", key: Vec<u8>) {
        if let Ok(pattern) = Pattern::parse(&text) {
            let _ = pattern.matches(&key);
        }
    }
}
