//! Log files: from any bytes; from instructions that make records of nonsense under right checksums and chains; and from a good log
//! with edits, which replay must judge (torn here, corrupt there) as an oracle does that knows every record.
#![no_main]

use annals::testing::wal;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| match data.split_first() {
    Some((0, bytes)) => wal::file(bytes),
    Some((1..128, bytes)) => wal::file_resealed(bytes),
    Some((_, bytes)) => wal::edited(bytes),
    None => {}
});
