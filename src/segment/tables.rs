//! The tables of a section while it is built: what finds and orders its entries. The one encoder of what `index`, `fences` and
//! `position` decode, and what `verify` holds the tables of a file against.
//!
//! Memory: about 20 bytes per entry and 8 per key until the section ends, and then the tables themselves.

use super::directory::{Before, Counts, Parts};
use super::fences::{FencesDraft, Zone};
use super::format::{DEADLINE_STEP, GRANULE_LEN, Identity, LINE_LEN, shared_len};
use super::index::{LineShape, encode_index};
use super::position::{Position, PositionBits, order_of, pack};
use crate::checksum::checksum;
use crate::entry::Meta;
use crate::number::Revision;

/// Collects what the tables say.
#[derive(Debug, Default)]
pub(super) struct TablesDraft {
    fences: FencesDraft,
    /// Per key its hash, and the number of its newest entry.
    hashes: Vec<u64>,
    newest: Vec<u32>,
    /// Per entry.
    revisions: Vec<u64>,
    /// Per entry with a deadline, and the numbers of these.
    deadlines: Vec<u64>,
    mortal: Vec<u32>,
    created: Option<(u64, u64)>,
}

/// Finished tables: all bytes of a section behind its blocks, and what the directory says of it.
#[derive(Debug)]
pub(super) struct Tables {
    /// From the end of the blocks to the end of the section.
    pub(super) bytes: Vec<u8>,
    pub(super) parts: Parts,
    pub(super) totals: Totals,
}

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) entries: u64,
    pub(super) keys: u64,
    pub(super) puts: u64,
    pub(super) markers: u64,
    pub(super) revisions: (Revision, Revision),
    pub(super) created: (u64, u64),
    pub(super) deadlines: u64,
    pub(super) first_deadline: u64,
}

impl TablesDraft {
    /// The next entry; with the hash of its key if it is the first of that.
    pub(super) fn push_entry(&mut self, new_key: Option<u64>, meta: &Meta) {
        let number = self.revisions.len() as u32;
        if let Some(hash) = new_key {
            self.hashes.push(hash);
            self.newest.push(number);
        }
        self.revisions.push(meta.revision.0);
        if meta.deadline != 0 {
            self.deadlines.push(meta.deadline);
            self.mortal.push(number);
        }
        let (first, last) = self.created.unwrap_or((u64::MAX, 0));
        self.created = Some((first.min(meta.created), last.max(meta.created)));
    }

    /// The block that ends with the last entry. `before` is the last key of the block before, if there is one.
    pub(super) fn push_block(&mut self, offset: u64, checksum: u32, zone: Zone, before: &[u8], first_key: &[u8]) {
        let len = if self.fences.count() == 0 { first_key.len() } else { shared_len(before, first_key) + 1 };
        self.fences.push(offset, checksum, zone, first_key.get(..len).unwrap_or(first_key));
    }

    /// Whether another block of so many entries fits what positions and fences can say.
    pub(super) fn has_room(&self, entries: usize) -> bool {
        let most = u64::from(self.fences.entries_max()).max(entries as u64);
        PositionBits::new(self.fences.count() as u64 + 1, most).is_some() && self.fences.separators_len() < 1 << 31
    }

    /// About how long the tables will be.
    pub(super) fn len(&self) -> usize {
        let bits = PositionBits::new(self.fences.count() as u64, u64::from(self.fences.entries_max()));
        let Some(bits) = bits.filter(|_| self.fences.count() > 1) else { return self.fences.len() };
        let index = LineShape::new(bits.all()).lines(self.hashes.len() as u64) as usize * LINE_LEN;
        let permutations = (self.revisions.len() + self.mortal.len()) * bits.all() as usize / 8;
        self.fences.len() + index + permutations
    }

    pub(super) fn totals(&self) -> Totals {
        let sum = |count: fn(&Zone) -> u16| self.fences.zones().map(|zone| u64::from(count(zone))).sum();
        let revisions = || self.revisions.iter().copied().map(Revision);
        Totals {
            entries: self.revisions.len() as u64,
            keys: self.hashes.len() as u64,
            puts: sum(|zone| zone.puts),
            markers: sum(|zone| zone.markers),
            revisions: (revisions().min().unwrap_or_default(), revisions().max().unwrap_or_default()),
            created: self.created.unwrap_or_default(),
            deadlines: self.deadlines.len() as u64,
            first_deadline: self.deadlines.iter().copied().min().unwrap_or(0),
        }
    }

    /// Everything behind the blocks of a section, which are `blocks_len` bytes long and start where `before` ends.
    pub(super) fn encode(&self, identity: &Identity, before: &Before, blocks_len: u64) -> Tables {
        let totals = self.totals();
        let block_count = self.fences.count() as u64;
        let entries_max = u64::from(self.fences.entries_max());
        let bits = PositionBits::new(block_count, entries_max).expect("has_room was asked before every block");
        let many = block_count > 1;
        let lines = if many { LineShape::new(bits.all()).lines(totals.keys) } else { 0 };
        let blocks_end = before.offset + blocks_len;
        let tables_at = if many { blocks_end.next_multiple_of(LINE_LEN as u64) } else { blocks_end };
        let mut bytes = vec![0; (tables_at - blocks_end) as usize];
        let padding = bytes.len();
        let positions = if many { self.positions(bits) } else { Vec::new() };
        if many {
            let newest = self.newest.iter().map(|number| positions[*number as usize]);
            encode_index(self.hashes.iter().copied().zip(newest), lines, bits.all(), &mut bytes);
        }
        let fences_at = bytes.len();
        let prefix_len = self.fences.encode(&mut bytes);
        let fences_len = (bytes.len() - fences_at) as u64;
        if many {
            let revisions = order_of(&self.revisions);
            pack(revisions.into_iter().map(|number| positions[number as usize]), bits.all(), &mut bytes);
            let deadlines = order_of(&self.deadlines);
            let positions = deadlines.iter().map(|number| positions[self.mortal[*number as usize] as usize]);
            pack(positions, bits.all(), &mut bytes);
            for number in deadlines.iter().step_by(DEADLINE_STEP as usize) {
                bytes.extend_from_slice(&self.deadlines[*number as usize].to_le_bytes());
            }
        }
        let (mut sums, mut at) = (Vec::new(), tables_at);
        for granule in bytes[padding..].chunks(GRANULE_LEN as usize) {
            sums.extend_from_slice(&checksum(identity.seed(at), &[granule]).to_le_bytes());
            at += granule.len() as u64;
        }
        let sums_checksum = checksum(identity.seed(at), &[&sums]);
        bytes.extend_from_slice(&sums);
        let counts = Counts {
            entries: totals.entries,
            deadlines: totals.deadlines,
            block_count,
            entries_max,
            blocks_len,
            lines,
            fences_len,
            prefix_len,
            sums_checksum,
        };
        let parts = Parts::new(before, &counts).expect("its position bits were there above");
        Tables { bytes, parts, totals }
    }

    /// Of each entry.
    fn positions(&self, bits: PositionBits) -> Vec<u32> {
        let mut positions = Vec::with_capacity(self.revisions.len());
        for (block, zone) in self.fences.zones().enumerate() {
            positions.extend((0..usize::from(zone.entries)).map(|index| bits.number(Position { block, index })));
        }
        positions
    }
}
