//! Keys and values of the benchmarks, here and beside other stores (benches/peers): functions of a number, which depend on nothing else.

/// Key `number`: 25 bytes, three tokens, scrambled so that neighbours in number are not neighbours in order.
pub fn key(number: u64) -> String {
    let mut key = String::new();
    write_key(number, &mut key);
    key
}

/// [`key`] into a text that is used again.
pub fn write_key(number: u64, key: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let scrambled = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    let group = scrambled % 1000;
    key.clear();
    key.push_str("user.");
    for digit in [group / 100, group / 10 % 10, group % 10] {
        key.push(char::from(DIGITS[digit as usize]));
    }
    key.push('.');
    for shift in (0..16).rev() {
        key.push(char::from(DIGITS[(scrambled >> (4 * shift)) as usize & 15]));
    }
}

/// A key of the same form as [`key`] that no number below 2^48 has.
pub fn absent_key(number: u64) -> String {
    key(number | 1 << 48)
}

/// A value that differs with its number and does not compress to nothing.
pub fn value(number: u64, len: usize) -> Vec<u8> {
    let mut value = Vec::new();
    write_value(number, len, &mut value);
    value
}

/// [`value`] into memory that is used again.
pub fn write_value(number: u64, len: usize, value: &mut Vec<u8>) {
    let mut state = number.wrapping_mul(0xd129_42f0_4f53_13a5).wrapping_add(0x2545_f491_4f6c_dd1d) | 1;
    value.clear();
    while value.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let word = state.to_le_bytes();
        value.extend_from_slice(&word[..word.len().min(len - value.len())]);
    }
}

/// Numbers from 0 to `bound`, in an order that jumps.
#[derive(Debug)]
pub struct Numbers {
    next: u64,
    bound: u64,
}

impl Numbers {
    pub fn below(bound: u64) -> Self {
        Self::from(0, bound)
    }

    /// Another order for each `start`.
    pub fn from(start: u64, bound: u64) -> Self {
        Self { next: start << 32, bound }
    }

    pub fn take(&mut self) -> u64 {
        self.next = self.next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.next >> 16) % self.bound
    }
}
