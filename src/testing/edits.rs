//! Damage to a valid file, as a fuzz target's bytes describe it: what disks, copies and bugs do rather than noise.
//!
//! Noise dies at the first magic number. A few edits to a file that was right reach what lies behind it.

/// Applies edits of up to 5 bytes each (kind, position of two bytes, two arguments) until `edits` ends. Bytes may get fewer, and more
/// by at most 256 for each edit.
pub fn apply(bytes: &mut Vec<u8>, edits: &[u8]) {
    for edit in edits.chunks(5) {
        let argument = |index: usize| edit.get(index).copied().unwrap_or_default();
        // Positions are relative, so that two bytes reach every place of a file up to 64 KiB, and the end is as near as the start.
        let place = usize::from(u16::from_le_bytes([argument(1), argument(2)]));
        if bytes.is_empty() {
            bytes.push(argument(3));
            continue;
        }
        let len = bytes.len();
        let at = if argument(0) & 0x80 == 0 { place % len } else { len - 1 - place % len };
        let end = len.min(at + usize::from(argument(3)) + 1);
        match argument(0) & 0x07 {
            0 => bytes[at] ^= 1 << (argument(3) % 8),
            1 => bytes[at] = argument(3),
            2 => bytes[at] = bytes[at].wrapping_add(argument(3)),
            3 => bytes.truncate(at),
            4 => bytes[at..end].fill(0),
            5 => {
                let copied = bytes[at..end].to_vec();
                let to = usize::from(argument(4)) * len / 256;
                let count = copied.len().min(len - to);
                bytes[to..to + count].copy_from_slice(&copied[..count]);
            }
            6 => {
                bytes.drain(at..end);
            }
            _ => {
                let copied = bytes[at..end].to_vec();
                bytes.splice(at..at, copied);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(edits: &[u8], expected: &[u8]) {
        let mut bytes = b"abcdefgh".to_vec();
        apply(&mut bytes, edits);
        assert_eq!(bytes.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{edits:?}");
    }

    #[test]
    fn each_edit_does_what_it_says() {
        check(&[], b"abcdefgh");
        check(&[0, 0, 0, 1], b"cbcdefgh");
        check(&[1, 1, 0, b'X'], b"aXcdefgh");
        check(&[0x81, 0, 0, b'X'], b"abcdefgX");
        check(&[2, 0, 0, 25], b"zbcdefgh");
        check(&[3, 3, 0], b"abc");
        check(&[4, 2, 0, 1], b"ab\0\0efgh");
        check(&[5, 0, 0, 1, 0xff], b"abcdefga");
        check(&[6, 2, 0, 2], b"abfgh");
        check(&[7, 6, 0, 9], b"abcdefghgh");
        check(&[3, 0, 0, 0, 0, 1, 0, 0, b'X'], b"X");
    }

    proptest! {
        #[test]
        fn edits_never_panic_and_grow_a_file_by_no_more_than_they_may(mut bytes: Vec<u8>, edits: Vec<u8>) {
            let len = bytes.len();
            apply(&mut bytes, &edits);
            prop_assert!(bytes.len() <= len + edits.chunks(5).count() * 256);
        }
    }
}
