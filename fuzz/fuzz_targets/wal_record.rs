//! One record of the log from any bytes; and any bytes as the changes of a record whose checksums are right. Decoded, or refused.
#![no_main]

use annals::testing::wal;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| match data.split_first() {
    Some((0, bytes)) => wal::record(bytes),
    Some((_, bytes)) => wal::record_resealed(bytes),
    None => {}
});
