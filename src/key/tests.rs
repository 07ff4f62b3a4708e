use proptest::prelude::*;

use super::*;

fn key_error(key: &str) -> String {
    let error = check_key(key).expect_err("an invalid key");
    assert_eq!(error.kind(), ErrorKind::InvalidKey);
    error.to_string()
}

fn name_error(name: &str) -> String {
    let error = check_bucket_name(name).expect_err("an invalid bucket name");
    assert_eq!(error.kind(), ErrorKind::InvalidBucketName);
    error.to_string()
}

#[test]
fn keys_of_conformance_case_56_are_judged_as_there() {
    for valid in ["A-z_0=/9", "-", "_", "/", "=", "a", "a.b.c", "_kv", "_kv.x"] {
        assert!(check_key(valid).is_ok(), "{valid}");
    }
    for invalid in ["", ".a", "a.", ".", "a..b", "..", "a b", "a*", "*", ">", "a.>", "a:b", "\u{e9}", "a\0", "a\n"] {
        assert!(check_key(invalid).is_err(), "{invalid}");
        assert!(Key::new(invalid).is_err(), "{invalid}");
        assert!(Key::from_stored(invalid.as_bytes()).is_none(), "{invalid}");
    }
}

#[test]
fn bucket_names_of_conformance_case_57_are_judged_as_there() {
    for valid in ["A-b_9", "-", "_", "0"] {
        assert!(check_bucket_name(valid).is_ok(), "{valid}");
    }
    for invalid in ["", "a.b", "a b", "a*", "a/b", "a=b", ".", "\u{e9}"] {
        assert!(check_bucket_name(invalid).is_err(), "{invalid}");
    }
}

#[test]
fn lengths_are_allowed_up_to_their_limit_and_no_further() {
    assert!(check_key(&"k".repeat(KEY_LEN_MAX)).is_ok());
    assert!(check_key(&"k".repeat(KEY_LEN_MAX + 1)).is_err());
    assert!(check_bucket_name(&"b".repeat(BUCKET_NAME_LEN_MAX)).is_ok());
    assert!(check_bucket_name(&"b".repeat(BUCKET_NAME_LEN_MAX + 1)).is_err());
}

#[test]
fn messages_name_the_byte_and_its_position() {
    let allowed = "allowed are A-Z a-z 0-9 - _ / = and . between tokens";
    assert_eq!(key_error("abc d"), format!("key has byte 0x20 (' ') at position 3; {allowed}, key=\"abc d\""));
    assert_eq!(key_error("a\n"), format!("key has byte 0x0a ('\\n') at position 1; {allowed}, key=\"a\\n\""));
    assert_eq!(key_error("a\u{e9}"), format!("key has byte 0xc3 ('\u{e9}') at position 1; {allowed}, key=\"a\u{e9}\""));
    assert_eq!(
        name_error("a.b"),
        "bucket name has byte 0x2e ('.') at position 1; allowed are A-Z a-z 0-9 - and _, bucket name=\"a.b\""
    );
}

#[test]
fn messages_say_which_token_is_empty() {
    let before = "with no token before it; a dot stands between two tokens";
    assert_eq!(key_error(".a"), format!("key has byte 0x2e ('.') at position 0 {before}, key=\".a\""));
    assert_eq!(key_error("a..b"), format!("key has byte 0x2e ('.') at position 2 {before}, key=\"a..b\""));
    let after = "with no token after it; a dot stands between two tokens";
    assert_eq!(key_error("ab."), format!("key has byte 0x2e ('.') at position 2 {after}, key=\"ab.\""));
}

#[test]
fn messages_about_length_give_both_numbers_and_cut_the_text() {
    assert_eq!(key_error(""), "key is empty; it has 1 to 4000 bytes");
    assert_eq!(name_error(""), "bucket name is empty; it has 1 to 252 bytes");
    let shown = "k".repeat(48);
    assert_eq!(key_error(&"k".repeat(5_000)), format!("key is too long, length=5000 limit=4000 key=\"{shown}\"..."));
    // Longest first: a long key with a bad byte far out still gets a short message.
    assert!(key_error(&format!("{} ", "\u{e9}".repeat(1_000))).len() < 300);
}

#[test]
fn a_key_is_its_text() {
    let key = Key::new("a.b").expect("a valid key");
    assert_eq!(key.as_str(), "a.b");
    assert_eq!(format!("{key}|{key:>5}|{key:?}"), "a.b|  a.b|Key(\"a.b\")");
    assert_eq!(Key::from_stored(b"a.b"), Some(key));
    assert_eq!(Key::from_stored(b"a\xff"), None);
}

/// The rule again, as a reader of the documentation would write it.
fn is_key_by_the_book(key: &str) -> bool {
    let token = |token: &str| !token.is_empty() && token.chars().all(|c| c.is_ascii_alphanumeric() || "-_/=".contains(c));
    key.len() <= 4_000 && key.split('.').all(token)
}

proptest! {
    #[test]
    fn every_text_is_judged_by_the_book(
        text in prop_oneof![any::<String>(), "[a.]{0,8}", "[ -~]{0,6}", "[A-Za-z0-9/=_.-]{1,40}"],
    ) {
        prop_assert_eq!(check_key(&text).is_ok(), is_key_by_the_book(&text));
        prop_assert_eq!(Key::from_stored(text.as_bytes()).is_some(), is_key_by_the_book(&text));
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let is_name = (1..=252).contains(&text.len()) && text.chars().all(is_allowed);
        prop_assert_eq!(check_bucket_name(&text).is_ok(), is_name);
    }

    #[test]
    fn stored_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Key::from_stored(&bytes);
    }
}
