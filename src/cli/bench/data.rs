//! Keys and values of the workloads, each a function of a number: nothing is stored, so that ten million keys take no memory.

/// The bytes of a key that tell it from all others: 16 hexadecimal digits.
const UNIQUE: usize = 16;
/// Numbers from here on are of keys that are never written; numbers of keys that are lie below.
const ABSENT: u64 = 1 << 48;

/// What a key and a value of each number look like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Data {
    pub(super) keys: u64,
    pub(super) key_len: usize,
    pub(super) value_len: usize,
    pub(super) seed: u64,
}

impl Data {
    /// Writes key `number` into `key`: a group of a thousandth of all keys, a dot, digits. Keys that are neighbours in number are none in order.
    pub(super) fn key(self, number: u64, key: &mut String) {
        let bits = scrambled(number ^ (self.seed << 49));
        let width = self.key_len - UNIQUE - 2;
        let places = width.min(3);
        let group = bits % 10_u64.pow(places as u32);
        key.clear();
        key.push('g');
        // Digit by digit: the formatting of the standard library takes as long as a lookup does, and would be measured with it.
        key.extend(std::iter::repeat_n('0', width - places));
        key.extend([100, 10, 1].iter().skip(3 - places).map(|unit| digit(group / unit % 10)));
        key.push('.');
        key.extend((0..UNIQUE as u32).rev().map(|place| digit(bits >> (4 * place) & 0xf)));
    }

    /// A key of the same form that no number below the count of keys has.
    pub(super) fn absent_key(self, number: u64, key: &mut String) {
        self.key(number | ABSENT, key);
    }

    /// Fills `value` with bytes of its own for each number and version; they do not compress.
    pub(super) fn value(self, number: u64, version: u64, value: &mut Vec<u8>) {
        value.clear();
        let mut state = scrambled(number ^ (version << 40)) | 1;
        while value.len() < self.value_len {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let word = state.to_le_bytes();
            let rest = (self.value_len - value.len()).min(word.len());
            value.extend_from_slice(&word[..rest]);
        }
    }

    /// Bytes of all keys and their values.
    pub(super) const fn raw_bytes(self) -> u64 {
        self.keys * (self.key_len + self.value_len) as u64
    }

    /// All numbers, each once, in an order of its own for each pass.
    pub(super) fn order(self, pass: u64) -> Order {
        let start = scrambled(self.seed ^ pass) % self.keys;
        // Steps round a circle of `keys` places reach each of them if the two numbers have no divisor in common.
        let step = (start.max(1)..).find(|step| divisor(*step, self.keys) == 1).unwrap_or(1);
        Order { start, step, keys: self.keys }
    }
}

/// An order of all numbers below the count of keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    start: u64,
    step: u64,
    keys: u64,
}

impl Order {
    pub(super) fn number(self, index: u64) -> u64 {
        ((u128::from(index) * u128::from(self.step) + u128::from(self.start)) % u128::from(self.keys)) as u64
    }
}

/// Of a number below 16.
fn digit(number: u64) -> char {
    char::from(b"0123456789abcdef"[number as usize])
}

/// The greatest common divisor.
const fn divisor(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

/// The finalizer of SplitMix64, which gives each number another one.
const fn scrambled(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Numbers that jump about.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        ((u128::from(scrambled(self.0)) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn data(keys: u64, key_len: usize) -> Data {
        Data { keys, key_len, value_len: 100, seed: 3 }
    }

    #[test]
    fn keys_have_the_length_asked_for_and_are_keys() {
        for key_len in [18, 19, 21, 25, 100] {
            let (mut key, mut seen) = (String::new(), HashSet::new());
            for number in 0..1000 {
                data(1000, key_len).key(number, &mut key);
                assert_eq!(key.len(), key_len);
                assert!(annals::Key::new(&key).is_ok(), "{key}");
                assert!(seen.insert(key.clone()), "{key}");
                data(1000, key_len).absent_key(number, &mut key);
                assert!(seen.insert(key.clone()), "{key}");
            }
        }
    }

    #[test]
    fn each_pass_reaches_every_number_once_in_another_order() {
        for keys in [1, 2, 10, 997, 1000] {
            let order = |pass| (0..keys).map(|index| data(keys, 25).order(pass).number(index)).collect::<Vec<_>>();
            assert_eq!(order(1).iter().collect::<HashSet<_>>().len() as u64, keys);
            assert!(order(1).iter().all(|number| *number < keys));
            assert!(keys < 10 || order(1) != order(2));
        }
    }

    #[test]
    fn values_differ_by_number_and_version() {
        let value = |number, version| {
            let mut value = Vec::new();
            data(10, 25).value(number, version, &mut value);
            value
        };
        assert_eq!(value(1, 1).len(), 100);
        assert!(value(1, 1) != value(2, 1) && value(1, 1) != value(1, 2));
    }
}
