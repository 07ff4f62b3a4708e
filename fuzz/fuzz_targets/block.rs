//! A block of a segment from any bytes: decoded, every entry read, every key searched for, without a panic.
#![no_main]

use annals::testing::segment;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| match data.split_first() {
    Some((0..128, bytes)) => segment::decode_block_bytes(bytes),
    Some((_, bytes)) => segment::decode_resealed_block_bytes(bytes),
    None => {}
});
