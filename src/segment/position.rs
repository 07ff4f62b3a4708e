//! Positions of entries in a section, and arrays of them, packed bit by bit. See `format`.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use super::format::POSITION_BITS_MAX;

/// Where an entry stands: its block, and its number in there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) block: usize,
    pub(super) index: usize,
}

/// How positions of a section are written as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PositionBits {
    all: u32,
    entry: u32,
    entries_max: u16,
}

impl PositionBits {
    /// For `blocks` blocks of at most `entries_max` entries; `None` if that is nothing or too much.
    pub(super) fn new(blocks: u64, entries_max: u64) -> Option<Self> {
        let bits = |count: u64| count.checked_sub(1).map(|last| u64::BITS.saturating_sub(last.leading_zeros()));
        let entry = bits(entries_max)?;
        let all = bits(blocks)?.saturating_add(entry);
        let entries_max = u16::try_from(entries_max).ok()?;
        (all <= POSITION_BITS_MAX).then_some(Self { all, entry, entries_max })
    }

    /// Bits of a position.
    pub(super) const fn all(&self) -> u32 {
        self.all
    }

    pub(super) fn entries_max(&self) -> u64 {
        u64::from(self.entries_max)
    }

    /// As a number of [`all`](Self::all) bits, if the position is one of this section.
    pub(super) const fn number(&self, position: Position) -> u32 {
        ((position.block as u64) << self.entry | position.index as u64) as u32
    }

    #[inline]
    pub(super) const fn position(&self, number: u32) -> Position {
        let number = number as u64;
        Position { block: (number >> self.entry) as usize, index: (number & !(u64::MAX << self.entry)) as usize }
    }
}

/// Packs `numbers` of `bits` bits each, the lowest bit first.
pub(super) fn pack(numbers: impl Iterator<Item = u32>, bits: u32, out: &mut Vec<u8>) {
    let (mut pending, mut filled) = (0_u64, 0_u32);
    for number in numbers {
        pending |= u64::from(number) << filled;
        filled = filled.saturating_add(bits);
        while filled >= 8 {
            out.push(pending as u8);
            pending >>= 8;
            filled = filled.saturating_sub(8);
        }
    }
    if filled > 0 {
        out.push(pending as u8);
    }
}

/// Where number `index` lies in a packed array: its first byte, and how many there are to read.
pub(super) const fn packed_range(index: u64, bits: u32) -> (u64, usize) {
    let first = index.saturating_mul(bits as u64);
    let end = first.saturating_add(bits as u64).div_ceil(8);
    (first / 8, end.saturating_sub(first / 8) as usize)
}

/// Number `index` of a packed array, out of the bytes of its [`packed_range`], at most five.
pub(super) fn unpack(bytes: &[u8], index: u64, bits: u32) -> u32 {
    let mut all = 0_u64;
    for byte in bytes.iter().take(5).rev() {
        all = all << 8 | u64::from(*byte);
    }
    let shift = (index.wrapping_mul(u64::from(bits)) % 8) as u32;
    ((all >> shift) & !(u64::MAX << bits)) as u32
}

/// The numbers 0, 1, 2... in the order of `values`, equal ones in their own order.
pub(super) fn order_of(values: &[u64]) -> Vec<u32> {
    let low = values.iter().copied().min().unwrap_or(0);
    let spread = values.iter().map(|value| value.wrapping_sub(low)).max().unwrap_or(0);
    if spread <= u64::from(u32::MAX) {
        // The usual case, in half the memory and time.
        let tagged = values.iter().zip(0_u64..).map(|(value, number)| value.wrapping_sub(low) << 32 | number);
        let mut tagged: Vec<u64> = tagged.collect();
        tagged.sort_unstable();
        return tagged.into_iter().map(|tagged| tagged as u32).collect();
    }
    let mut tagged: Vec<(u64, u32)> = values.iter().copied().zip(0..).collect();
    tagged.sort_unstable();
    tagged.into_iter().map(|(_, number)| number).collect()
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn positions_take_as_few_bits_as_their_counts_need() {
        let bits = |blocks, entries| PositionBits::new(blocks, entries).map(|bits| (bits.all(), bits.entry));
        assert_eq!(bits(1, 1), Some((0, 0)));
        assert_eq!(bits(2, 1), Some((1, 0)));
        assert_eq!(bits(154_000, 65), Some((25, 7)));
        assert_eq!(bits(1 << 22, 1 << 10), Some((32, 10)));
        assert_eq!((bits(1 << 23, 1 << 10), bits(0, 1), bits(1, 0), bits(1, 1 << 16)), (None, None, None, None));
    }

    /// Five bits each, from the right: 00001 11111 01010 00011, cut into bytes, and filled up with zeros.
    #[test]
    fn the_bytes_of_packed_numbers_are_these() {
        let mut bytes = Vec::new();
        pack([0b00011, 0b01010, 0b11111, 0b00001].into_iter(), 5, &mut bytes);
        assert_eq!(bytes, [0b0100_0011, 0b1111_1101, 0b0000_0000]);
        bytes.clear();
        pack([0x0403_0201, u32::MAX].into_iter(), 32, &mut bytes);
        assert_eq!(bytes, [1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff]);
        bytes.clear();
        pack([0, 0].into_iter(), 0, &mut bytes);
        assert_eq!(bytes, [0; 0], "the only place that there is takes no bits");
    }

    #[test]
    fn the_order_of_equal_values_is_that_of_their_places() {
        assert_eq!(order_of(&[30, 10, 20, 10]), [1, 3, 2, 0]);
        assert_eq!(order_of(&[u64::MAX, 10, 1 << 40, 10]), [1, 3, 2, 0], "beyond 32 bits apart too");
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(numbers: Vec<u32>, bits in 1..=32_u32) {
            let numbers: Vec<u32> = numbers.iter().map(|number| (u64::from(*number) & !(u64::MAX << bits)) as u32).collect();
            let mut bytes = Vec::new();
            pack(numbers.iter().copied(), bits, &mut bytes);
            prop_assert_eq!(bytes.len(), (numbers.len() * bits as usize).div_ceil(8));
            for (number, index) in numbers.iter().zip(0..) {
                let (at, len) = packed_range(index, bits);
                prop_assert_eq!(unpack(&bytes[at as usize..at as usize + len], index, bits), *number);
            }
        }

        #[test]
        fn orders_are_stable(values in prop::collection::vec(prop_oneof![0..20_u64, any::<u64>()], 0..100)) {
            let mut expected: Vec<u32> = (0..values.len() as u32).collect();
            expected.sort_by_key(|number| values[*number as usize]);
            prop_assert_eq!(order_of(&values), expected);
        }
    }
}
