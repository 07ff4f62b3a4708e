//! A segment file from any bytes, and from a valid file with edits, as it is and with its checksums made right again: opened, walked
//! both ways, searched, verified. It answers or refuses; it never panics, hangs, or allocates more than its input justifies.
#![no_main]

use annals::testing::{edits, segment};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&mode, rest)) = data.split_first() else { return };
    let bytes = if mode & 1 == 0 {
        rest.to_vec()
    } else {
        let mut bytes = segment::valid_segment_bytes(u64::from(mode));
        edits::apply(&mut bytes, rest);
        bytes
    };
    if mode & 2 == 0 { segment::open_segment_bytes(&bytes) } else { segment::open_resealed_segment_bytes(&bytes) }
});
