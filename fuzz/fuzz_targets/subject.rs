//! Keys and patterns of any text: taken, refused and matched as the naive rules say, and the laws of wildcards hold.
#![no_main]

use annals::testing::subject;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| subject::check_bytes(data));
