//! The point index of a section: which entry is the newest of a key, in one cache line. See `format` for the bytes.
//!
//! A lookup compares tags and hands out positions; whoever asks compares keys. So a key that is not there costs one line in nearly
//! all cases, a key that is there one line and its entry. The index knows no keys, only hashes.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use super::format::LINE_LEN;

/// Count, reach and zeros.
const LINE_HEADER_LEN: usize = 4;
/// How many lines from its home a key goes at most.
const REACH_MAX: u64 = 15;
/// In place of a reach: some key of this home is not in the index.
const ASK_FENCES: u8 = u8::MAX;
/// Of three slots two are used; then about one line in twenty sends keys on.
const LOAD: (u64, u64) = (2, 3);

/// How the lines of a section look.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineShape {
    slots: usize,
    width: usize,
    bits: u32,
}

impl LineShape {
    /// For positions of `bits` bits, at most 32.
    #[inline]
    pub(super) const fn new(bits: u32) -> Self {
        let width = bits.saturating_add(2).div_ceil(8) as usize;
        // What 60 bytes hold of (1 + width), without the division: this is on the way of every lookup.
        let slots = match width {
            0 | 1 => 30,
            2 => 20,
            3 => 15,
            4 => 12,
            _ => 10,
        };
        Self { slots, width, bits }
    }

    /// How many lines a section of so many keys gets.
    pub(super) const fn lines(&self, keys: u64) -> u64 {
        keys.saturating_mul(LOAD.1).div_ceil((self.slots as u64).saturating_mul(LOAD.0))
    }

    /// What stands in a slot besides the tag: the position, and what of the hash fits above it.
    #[inline]
    const fn field(&self, hash: u64, position: u32) -> u64 {
        let spare = !(u64::MAX << (self.width.saturating_mul(8) as u32).saturating_sub(self.bits));
        ((hash >> 8) & spare) << self.bits | position as u64
    }
}

/// The home line of a key among `lines`.
#[inline]
pub(super) const fn home(hash: u64, lines: u64) -> u64 {
    (hash >> 32).wrapping_mul(lines) >> 32
}

/// One line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    bytes: &'a [u8; LINE_LEN],
    shape: LineShape,
}

/// How far a search for a key of this home goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Over so many further lines.
    Lines(u64),
    /// Not here at all.
    Fences,
}

impl<'a> Line<'a> {
    #[inline]
    pub(super) const fn new(bytes: &'a [u8; LINE_LEN], shape: LineShape) -> Self {
        Self { bytes, shape }
    }

    /// `None` if it is none that can be.
    #[inline]
    pub(super) fn reach(&self) -> Option<Reach> {
        let [_, reach, ..] = *self.bytes;
        match reach {
            ASK_FENCES => Some(Reach::Fences),
            reach if u64::from(reach) <= REACH_MAX => Some(Reach::Lines(u64::from(reach))),
            _ => None,
        }
    }

    /// The positions of slots that may be this key's, from the front; the first that `check` takes ends it.
    #[inline(always)]
    pub(super) fn find<T, E>(&self, hash: u64, mut check: impl FnMut(u32) -> Result<Option<T>, E>) -> Result<Option<T>, E> {
        let [used, ..] = *self.bytes;
        let used = usize::from(used).min(self.shape.slots);
        let pattern = (hash & 0xff).wrapping_mul(0x0101_0101_0101_0101);
        let mut first = 0;
        while first < used {
            let word = self.word(LINE_HEADER_LEN.saturating_add(first)) ^ pattern;
            let mut hits = zero_bytes(word);
            while hits != 0 {
                let slot = first.saturating_add((hits.trailing_zeros() / 8) as usize);
                hits &= hits.wrapping_sub(1);
                if slot >= used {
                    break;
                }
                let field = self.field(slot);
                let position = (field & !(u64::MAX << self.shape.bits)) as u32;
                if field == self.shape.field(hash, position)
                    && let Some(found) = check(position)?
                {
                    return Ok(Some(found));
                }
            }
            first = first.saturating_add(8);
        }
        Ok(None)
    }

    #[inline]
    fn field(&self, slot: usize) -> u64 {
        let at = self.field_at(slot);
        // Eight bytes that lie inside the line and end with or after the field.
        let from = at.min(LINE_LEN.saturating_sub(8));
        let word = self.word(from) >> (at.saturating_sub(from).saturating_mul(8) as u32 & 63);
        word & !(u64::MAX << (self.shape.width.saturating_mul(8) as u32))
    }

    #[inline]
    const fn field_at(&self, slot: usize) -> usize {
        LINE_HEADER_LEN.saturating_add(self.shape.slots).saturating_add(self.shape.width.saturating_mul(slot))
    }

    #[inline]
    fn word(&self, at: usize) -> u64 {
        self.bytes.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |word| u64::from_le_bytes(*word))
    }
}

/// The high bit of each byte that is zero.
#[inline]
const fn zero_bytes(word: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    !((word & LOW).wrapping_add(LOW) | word | LOW)
}

/// The lines for keys in order, each with its hash and the position of its newest entry.
pub(super) fn encode_index(keys: impl Iterator<Item = (u64, u32)>, lines: u64, bits: u32, out: &mut Vec<u8>) {
    let shape = LineShape::new(bits);
    let start = out.len();
    out.resize(start.saturating_add((lines as usize).saturating_mul(LINE_LEN)), 0);
    let Some((index, [])) = out.get_mut(start..).map(<[u8]>::as_chunks_mut::<LINE_LEN>) else { return };
    for (hash, position) in keys {
        let home = home(hash, lines);
        let mut reach = ASK_FENCES;
        for distance in 0..=REACH_MAX.min(lines.saturating_sub(1)) {
            let line = home.saturating_add(distance).checked_rem(lines).unwrap_or(0);
            if index.get_mut(line as usize).is_some_and(|line| enter(line, shape, hash, position)) {
                reach = distance as u8;
                break;
            }
        }
        if let Some([_, farthest, ..]) = index.get_mut(home as usize) {
            *farthest = reach.max(*farthest);
        }
    }
}

/// Takes the next slot of a line, if there is one.
fn enter(line: &mut [u8; LINE_LEN], shape: LineShape, hash: u64, position: u32) -> bool {
    let [used, ..] = line;
    let slot = usize::from(*used);
    if slot >= shape.slots {
        return false;
    }
    *used = used.saturating_add(1);
    let field_at = Line::new(line, shape).field_at(slot);
    if let Some(tag) = line.get_mut(LINE_HEADER_LEN.saturating_add(slot)) {
        *tag = hash as u8;
    }
    let field = shape.field(hash, position).to_le_bytes();
    for (target, source) in line.iter_mut().skip(field_at).take(shape.width).zip(field) {
        *target = source;
    }
    true
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every position that a search for the hash is offered; `None` if it is sent to the fences.
    fn offered(index: &[u8], lines: u64, bits: u32, hash: u64) -> Option<Vec<u32>> {
        let line = |number: u64| Line::new(index.as_chunks::<LINE_LEN>().0.get(number as usize).unwrap(), LineShape::new(bits));
        let home = home(hash, lines);
        let Reach::Lines(reach) = line(home).reach().unwrap() else { return None };
        let mut found = Vec::new();
        for distance in 0..=reach {
            let none: Result<Option<()>, ()> = line((home + distance) % lines).find(hash, |position| {
                found.push(position);
                Ok(None)
            });
            assert_eq!(none, Ok(None));
        }
        Some(found)
    }

    proptest! {
        #[test]
        fn every_key_is_offered_its_position_or_sent_to_the_fences(
            hashes in prop::collection::vec(prop_oneof![4 => any::<u64>(), 1 => 0..4_u64], 1..400),
            bits in 1..=32_u32,
            lines in 0..40_u64,
        ) {
            let mask = (u64::from(u32::MAX) & !(u64::MAX << bits)) as u32;
            let keys = || hashes.iter().copied().zip((0_u32..).map(|number| number.wrapping_mul(0x9e37_79b9) & mask));
            let wanted = LineShape::new(bits).lines(hashes.len() as u64);
            let lines = if lines == 0 { wanted } else { lines };
            let mut index = Vec::new();
            encode_index(keys(), lines, bits, &mut index);
            prop_assert_eq!(index.len() as u64, lines * 64);
            for (hash, position) in keys() {
                prop_assert!(offered(&index, lines, bits, hash).is_none_or(|found| found.contains(&position)));
            }
        }
    }

    /// Of three-bit positions 30 slots fit a line: a tag each, and five bits of the hash above the position.
    #[test]
    fn the_bytes_of_two_lines_are_these() {
        let keys = [
            (0x0000_0000_0000_02a1, 5), // top bit 0: line 0; tag a1, field 0b00010_101
            (0x8000_0000_0000_1fb2, 6), // top bit 1: line 1; tag b2, field 0b11111_110
            (0x7fff_ffff_0000_e0c3, 7), // line 0; tag c3, field 0b00000_111, as bits 8 to 12 of the hash are zero
        ];
        let mut index = Vec::new();
        encode_index(keys.into_iter(), 2, 3, &mut index);
        // Used slots, reach, two zeros; tags up to the 30th; fields up to the 30th.
        let line_0 = [&[2, 0, 0, 0, 0xa1, 0xc3], &[0; 28][..], &[0x15, 0x07], &[0; 28]].concat();
        let line_1 = [&[1, 0, 0, 0, 0xb2], &[0; 29][..], &[0xfe], &[0; 29]].concat();
        assert_eq!(index, [line_0, line_1].concat());
    }

    /// Of positions of 32 bits 10 slots fit, of five bytes each: the position, the lowest byte first, and eight bits of the hash.
    #[test]
    fn the_bytes_of_full_lines_are_these() {
        let key = |number: u32| (0xffff_ffff_0000_ab00 | u64::from(number), 0x0102_0300 | number);
        let line = |used: u8, reach: u8, numbers: std::ops::Range<u8>| {
            let tags = numbers.clone();
            let fields = numbers.flat_map(|number| [number, 3, 2, 1, 0xab]);
            let mut line: Vec<u8> = [used, reach, 0, 0].into_iter().chain(tags).collect();
            line.resize(4 + 10, 0);
            line.extend(fields);
            line.resize(LINE_LEN, 0);
            line
        };
        // All at home in the last line; the eleventh goes to the first, one line on.
        let mut index = Vec::new();
        encode_index((0..11).map(key), 2, 32, &mut index);
        assert_eq!(index, [line(1, 0, 10..11), line(10, 1, 0..10)].concat());
        // The 21st finds no place: whoever looks for a key of this home asks the fences.
        index.clear();
        encode_index((0..21).map(key), 2, 32, &mut index);
        assert_eq!(index, [line(10, 0, 10..20), line(10, ASK_FENCES, 0..10)].concat());
    }

    #[test]
    fn at_the_usual_load_no_key_is_left_out_few_are_sent_on_and_few_absent_ones_are_offered_anything() {
        let hash = |number: u64| xxhash_rust::xxh3::xxh3_64_with_seed(&number.to_le_bytes(), 3);
        let (keys, bits) = (100_000_u64, 18);
        let lines = LineShape::new(bits).lines(keys);
        let mut index = Vec::new();
        encode_index((0..keys).map(|number| (hash(number), number as u32)), lines, bits, &mut index);
        assert!(index.len() as u64 <= keys * 8);
        let reaches = index.as_chunks::<LINE_LEN>().0.iter().map(|line| line[1]);
        assert!(reaches.clone().all(|reach| reach != ASK_FENCES));
        assert!((reaches.filter(|reach| *reach > 0).count() as u64) < lines / 10);
        let absent = (keys..2 * keys).filter(|number| !offered(&index, lines, bits, hash(*number)).unwrap().is_empty());
        assert!((absent.count() as u64) < keys / 50);
    }
}
