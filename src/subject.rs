//! Subject patterns: which keys a watch, a listing or a bulk write is about.
//!
//! A pattern is a key whose tokens may be wildcards: `*` stands for exactly one token, `>` for one or more tokens at the end.
//! Both are whole tokens. Matching allocates nothing and looks at each byte at most twice, since it runs per entry in scans and
//! per event in watches. Callers narrow a scan with [`literal_prefix`](Pattern::literal_prefix) and turn one without wildcards
//! into a point read by [`exact`](Pattern::exact). Several patterns together are [`Filters`].

mod filters;
#[cfg(test)]
mod tests;

pub(crate) use filters::Filters;

use crate::error::{ErrorKind, Result};
use crate::key::{EMPTY_TOKEN_AFTER, EMPTY_TOKEN_BEFORE, KEY_LEN_MAX, Refused, is_token_byte};

/// A checked pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: Box<str>,
    /// Where the first wildcard stands; the length if there is none. Always the start of a token.
    literal_len: usize,
}

impl Pattern {
    /// Checks a pattern.
    ///
    /// # Errors
    /// `InvalidKey`, naming the byte and its position, or the length.
    pub(crate) fn parse(pattern: &str) -> Result<Self> {
        let refused = Refused { kind: ErrorKind::InvalidKey, noun: "pattern", text: pattern };
        if let Some(error) = refused.length(KEY_LEN_MAX) {
            return Err(error);
        }
        let bytes = pattern.as_bytes();
        let mut token_start = 0;
        let mut first_wildcard = None;
        for (position, &byte) in bytes.iter().enumerate() {
            match byte {
                b'.' if position == token_start => return Err(refused.byte(position, EMPTY_TOKEN_BEFORE)),
                b'.' => token_start = position + 1,
                b'*' | b'>' => {
                    let next = bytes.get(position + 1);
                    if position != token_start || next.is_some_and(|&next| next != b'.') {
                        return Err(
                            refused.byte(position, " inside a longer token; a wildcard is a token of its own, as in a.* or a.>")
                        );
                    }
                    if byte == b'>' && next.is_some() {
                        return Err(
                            refused.byte(position, " with tokens after it; > comes last, use * for one token before the end")
                        );
                    }
                    first_wildcard = first_wildcard.or(Some(position));
                }
                _ if is_token_byte(byte) => {}
                _ => {
                    return Err(refused
                        .byte(position, "; allowed are A-Z a-z 0-9 - _ / = and . between tokens, and * or > as a whole token"));
                }
            }
        }
        if token_start == bytes.len() {
            return Err(refused.byte(token_start - 1, EMPTY_TOKEN_AFTER));
        }
        Ok(Self { text: pattern.into(), literal_len: first_wildcard.unwrap_or(pattern.len()) })
    }

    /// `>`: every key.
    pub(crate) fn all() -> Self {
        Self { text: ">".into(), literal_len: 0 }
    }

    /// Whether a valid key matches.
    pub(crate) fn matches(&self, key: &[u8]) -> bool {
        let (literal, mut pattern) = self.text.as_bytes().split_at(self.literal_len);
        let Some(mut key) = key.strip_prefix(literal) else { return false };
        if pattern.is_empty() {
            return key.is_empty();
        }
        loop {
            let (wanted, pattern_rest) = split_token(pattern);
            if wanted == b">" {
                return !key.is_empty();
            }
            let (token, key_rest) = split_token(key);
            let is_match = if wanted == b"*" { !token.is_empty() } else { wanted == token };
            match (pattern_rest, key_rest) {
                (Some(pattern_rest), Some(key_rest)) if is_match => (pattern, key) = (pattern_rest, key_rest),
                (None, None) => return is_match,
                _ => return false,
            }
        }
    }

    /// The pattern as it was written.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The longest byte prefix that every match has; the whole pattern if it has no wildcard.
    pub(crate) fn literal_prefix(&self) -> &[u8] {
        self.text.as_bytes().get(..self.literal_len).unwrap_or_default()
    }

    /// The one key that matches, where there is no wildcard.
    pub(crate) fn exact(&self) -> Option<&str> {
        (self.literal_len == self.text.len()).then_some(&*self.text)
    }
}

/// The first token, and what follows its dot if it has one.
fn split_token(tokens: &[u8]) -> (&[u8], Option<&[u8]>) {
    match tokens.iter().position(|&byte| byte == b'.') {
        Some(dot) => (tokens.get(..dot).unwrap_or_default(), tokens.get(dot + 1..)),
        None => (tokens, None),
    }
}
