//! A log file from any bytes, and from a valid one with edits, as it is and with its checksums made right: what is replayed is a
//! beginning of what was written, or the file is refused.
#![no_main]

use annals::testing::{edits, wal};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&mode, rest)) = data.split_first() else { return };
    let bytes = if mode & 1 == 0 {
        rest.to_vec()
    } else {
        let mut bytes = wal::valid_file_bytes(u64::from(mode));
        edits::apply(&mut bytes, rest);
        bytes
    };
    if mode & 2 == 0 { wal::replay_file_bytes(&bytes) } else { wal::replay_resealed_file_bytes(&bytes) }
});
