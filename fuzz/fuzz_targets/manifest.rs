//! A manifest from any bytes; and any bytes as the body of one whose header and checksums are right. Decoded as a whole or refused, and
//! what decodes encodes to the same bytes.
#![no_main]

use annals::testing::manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| match data.split_first() {
    Some((0, bytes)) => manifest::file(bytes),
    Some((_, bytes)) => manifest::body(bytes),
    None => {}
});
