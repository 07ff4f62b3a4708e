//! Reading and writing the fields of every format: little-endian integers, LEB128 varints, length-prefixed bytes.
//!
//! Used by all of floor 1. A [`Reader`] never panics and never trusts a length: each is checked against what is left before it is
//! used. Varints are canonical: a longer encoding than needed is refused, so that equal values have equal bytes.
//! LEB128 as in the DWARF standard, version 4, section 7.6.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

/// Bytes that do not decode: where in the slice, and what was expected there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DecodeError {
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

/// Takes fields off the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes have been taken.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    pub(crate) const fn error(&self, what: &'static str) -> DecodeError {
        DecodeError { at: self.at, what }
    }

    pub(crate) fn bytes(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let end = self.at.checked_add(len).ok_or(self.error(what))?;
        let taken = self.bytes.get(self.at..end).ok_or(self.error(what))?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let error = self.error(what);
        self.bytes(N, what)?.try_into().map_err(|_| error)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u128(&mut self, what: &'static str) -> Result<u128, DecodeError> {
        Ok(u128::from_le_bytes(self.array(what)?))
    }

    #[inline]
    pub(crate) fn varint(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let start = *self;
        let mut value = 0_u64;
        let mut shift = 0_u32;
        loop {
            let byte = self.u8(what)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(start.error(what));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(start.error(what)) } else { Ok(value) };
            }
            shift = shift.saturating_add(7);
            if shift > 63 {
                return Err(start.error(what));
            }
        }
    }

    /// A varint that must be at most `max`: a length or count from outside is bounded before anything is allocated for it.
    pub(crate) fn varint_max(&mut self, max: u64, what: &'static str) -> Result<u64, DecodeError> {
        let start = *self;
        let value = self.varint(what)?;
        if value <= max { Ok(value) } else { Err(start.error(what)) }
    }

    /// Bytes behind their length as a varint, at most `max` of them.
    pub(crate) fn prefixed(&mut self, max: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let start = *self;
        let len = self.varint_max(max as u64, what)?;
        let len = usize::try_from(len).map_err(|_| start.error(what))?;
        self.bytes(len, what)
    }

    /// Everything has been taken, or `what` names the excess.
    pub(crate) const fn finish(&self, what: &'static str) -> Result<(), DecodeError> {
        if self.is_empty() { Ok(()) } else { Err(self.error(what)) }
    }
}

/// Appends `value` as a varint of 1 to 10 bytes.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the length of `bytes` as a varint, then `bytes`.
#[inline]
pub(crate) fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn varints_have_the_bytes_of_the_standard() {
        for (value, expected) in
            [(0, vec![0]), (127, vec![0x7f]), (128, vec![0x80, 1]), (u64::MAX, [vec![0xff; 9], vec![1]].concat())]
        {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn an_overlong_or_overflowing_varint_is_refused() {
        for bytes in [&[0x80, 0][..], &[0xff; 10], &[0x80; 20], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]] {
            assert!(Reader::new(bytes).varint("number").is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn varints_round_trip(value: u64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint("number"), Ok(value));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn reading_arbitrary_bytes_never_panics_and_what_decodes_encodes_to_the_same_bytes(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            if let Ok(value) = reader.varint("number") {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                prop_assert_eq!(&bytes[..reader.at()], &out[..]);
            }
            let _ = Reader::new(&bytes).prefixed(10, "bytes");
        }
    }
}
