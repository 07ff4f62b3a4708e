//! A manifest from any bytes, and from a valid one with edits, as it is and with its checksum made right: decoded as a whole, or
//! refused; what decodes encodes to the same bytes.
#![no_main]

use annals::testing::{edits, manifest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&mode, rest)) = data.split_first() else { return };
    let bytes = if mode & 1 == 0 {
        rest.to_vec()
    } else {
        let mut bytes = manifest::valid_manifest_bytes(u64::from(mode));
        edits::apply(&mut bytes, rest);
        bytes
    };
    if mode & 2 == 0 { manifest::decode_manifest_bytes(&bytes) } else { manifest::decode_resealed_manifest_bytes(&bytes) }
});
