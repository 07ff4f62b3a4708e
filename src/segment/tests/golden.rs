//! Segments byte for byte. Whoever changes one of these changes the format.

use super::{Model, build, put};
use crate::entry::{Flags, Meta};
use crate::number::Revision;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_bytes_of_a_small_segment_are_these() {
    let marker = Meta { flags: Flags::delete(), ..put(300) };
    let mortal = Meta { deadline: 1_000, origin: Revision(5), ..put(7) };
    let entries = vec![
        (b"user.anna".to_vec(), marker, vec![]),
        (b"user.anna".to_vec(), put(6), b"one".to_vec()),
        (b"user.berta.and.more".to_vec(), mortal, b"two".to_vec()),
    ];
    let (bytes, summary) = build(&Model::from([(3, entries)]), 4096);
    let parts = [
        ("header", 0..64),
        ("block header", 64..97),
        ("records, prefix", 97..132),
        ("entries", 132..164),
        ("fences, sums", 164..214),
        ("directory", 214..bytes.len() - 64),
        ("footer", bytes.len() - 64..bytes.len()),
    ];
    let found: Vec<_> = parts.iter().map(|(name, range)| format!("{name}: {}", hex(&bytes[range.clone()]))).collect();
    assert_eq!(
        found,
        [
            "header: 414e4e414c5353470100000000000000ffeeddccbbaa998877665544332211002a00000000000000\
             0000000000000000000000000000000000000000ce00261d",
            "block header: 7495221d6400000064000000030000220600000000000000ee0300000000000005",
            "records, prefix: 00000000616e6e61440000000000616e6e614a006e612e61747265625300757365722e",
            "entries: 0404260126010400000000006f6e650e03010001000d05642e6d6f726574776f",
            "fences, sums: 000000000000000040000000000000007495221d06000000000000002c0100000000000003000200010000000000157156eb",
            "directory: 030302020106ac02ee07940a01e807010364002e096e1e029309757365722e616e6e6113757365722e62657274612e616e642e\
             6d6f7265",
            "footer: 414e4e414c5353460100000001000000d6000000000000004d0100000000000003000000000000000100000000000000\
             2a00000000000000691778ceb3d7375d",
        ]
    );
    assert_eq!((summary.len, summary.checksum), (bytes.len() as u64, 0x5d37_d7b3));
}

/// Four entries in two blocks of two, so a position has two bits: the block, and the entry in it below that.
#[test]
fn the_tables_of_a_section_of_two_blocks_are_these() {
    let mortal = |revision, deadline| Meta { deadline, ..put(revision) };
    let entries = vec![
        (b"a".to_vec(), mortal(40, 9_000), b"12345678".to_vec()), // position 0b00
        (b"a".to_vec(), put(10), b"12345678".to_vec()),           // position 0b01
        (b"b".to_vec(), mortal(30, 8_000), b"12345678".to_vec()), // position 0b10
        (b"c".to_vec(), mortal(20, 8_500), b"12345678".to_vec()), // position 0b11
    ];
    let (bytes, summary) = build(&Model::from([(3, entries)]), 120);
    let parts = &summary.sections[0].parts;
    assert_eq!((parts.block_count, parts.bits.all(), parts.lines), (2, 2, 1));
    let at = |offset: u64| (parts.tables_at() + offset) as usize;
    let (index, fences) = (at(0)..at(parts.fences_at()), at(parts.fences_at())..at(parts.revisions_at()));
    let (revisions, deadlines) = (at(parts.revisions_at())..at(parts.deadlines_at()), at(parts.deadlines_at()));
    let deadlines = deadlines..parts.sums_at() as usize;
    assert_eq!(parts.tables_at() % 64, 0);
    assert!(bytes[parts.blocks_end() as usize..index.start].iter().all(|byte| *byte == 0));
    assert_eq!(
        [index, fences, revisions, deadlines].map(|range| hex(&bytes[range])),
        [
            // Three slots used and none sent on; their tags; behind thirty tags the positions 0, 2 and 3, each below six bits of its hash.
            "0300000088410e000000000000000000000000000000000000000000000000000000\
             d4be2b000000000000000000000000000000000000000000000000000000"
                .to_owned(),
            // Two heads, "a" and "b"; where the blocks lie; per block checksum, revisions, counts, and the end of its separator.
            "0000000000000061000000000000006240000000000000009000000000000000\
             345ef5940a000000000000002800000000000000020002000000010000003b100cd814000000000000001e00000000000000\
             020002000000020000006162"
                .to_owned(),
            // 10, 20, 30, 40 stand at 0b01, 0b11, 0b10, 0b00, the first in the lowest bits: 0b00_10_11_01.
            "2d".to_owned(),
            // 8,000, 8,500, 9,000 stand at 0b10, 0b11, 0b00: 0b00_11_10. Then the first of them, as a number.
            "0e401f000000000000".to_owned(),
        ]
    );
}

#[test]
fn behind_the_order_of_deadlines_stands_every_64th_of_them() {
    let entry = |number: u64| (number.to_be_bytes().to_vec(), Meta { deadline: 10_000 - number, ..put(1 + number) }, vec![]);
    let (bytes, summary) = build(&Model::from([(3, (0..130).map(entry).collect())]), 1_000);
    let parts = &summary.sections[0].parts;
    let at = (parts.tables_at() + parts.deadlines_at() + parts.deadline_positions_len) as usize;
    // The latest entry expires first: 9,871, then 64 and 128 milliseconds later.
    assert_eq!(hex(&bytes[at..parts.sums_at() as usize]), "8f26000000000000cf260000000000000f27000000000000");
}
