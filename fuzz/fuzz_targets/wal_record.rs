//! One record of the log from any bytes, as they are and with their checksums made right: decoded with all its changes, or refused.
#![no_main]

use annals::testing::wal;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| match data.split_first() {
    Some((0..128, bytes)) => wal::decode_record_bytes(bytes),
    Some((_, bytes)) => wal::decode_resealed_record_bytes(bytes),
    None => {}
});
