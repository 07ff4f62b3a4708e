//! Writes a small corpus for each fuzz target, from valid files that the code of today makes: `cargo run --example seeds -- fuzz/corpus`.
//!
//! The corpus is not kept in the repository: a file of an older format would only teach the fuzzer the refusal.

use std::io;
use std::path::Path;

use annals::testing::{manifest, segment, wal};

fn main() -> io::Result<()> {
    let Some(directory) = std::env::args_os().nth(1) else {
        return Err(io::Error::other("name the directory of the corpora"));
    };
    let corpora = Path::new(&directory);
    for shape in 0..8_u64 {
        for (target, bytes) in [
            ("segment", segment::valid_segment_bytes(shape)),
            ("wal_file", wal::valid_file_bytes(shape)),
            ("manifest", manifest::valid_manifest_bytes(shape)),
        ] {
            // The first byte is the target's mode: 0 the bytes themselves, 2 the same with checksums made right, 1 and 3 edits of a
            // valid file, of which none is the shortest list.
            for mode in [0_u8, 2] {
                write(&corpora.join(target), &format!("shape-{shape}-{mode}"), &[&[mode][..], &bytes].concat())?;
            }
            write(&corpora.join(target), &format!("edits-{shape}"), &[shape as u8 * 2 + 1, 0, 0x40, 0, 1, 0])?;
        }
        for mode in [0_u8, 255] {
            let name = format!("shape-{shape}-{mode}");
            write(&corpora.join("wal_record"), &name, &[&[mode][..], &wal::valid_record_bytes(shape)].concat())?;
            write(&corpora.join("block"), &name, &[&[mode][..], &segment::valid_block_bytes(shape)].concat())?;
        }
        let program: Vec<u8> = (0..400_u64).map(|step| (step.wrapping_mul(0x9e37_79b9 + shape) >> 7) as u8).collect();
        write(&corpora.join("ops_vs_model"), &format!("program-{shape}"), &[&[shape as u8][..], &program].concat())?;
    }
    for (number, text) in
        ["a.b\na.b", "a.*\na.b", "a.>\na.b.c", ">\na", "*.*\na.b.c", "a..b\n.a", "orders.*.42\norders.eu.42"].iter().enumerate()
    {
        write(&corpora.join("subject"), &format!("text-{number}"), &[b"\0", text.as_bytes()].concat())?;
        write(&corpora.join("subject"), &format!("dense-{number}"), &[b"\x0f", text.as_bytes()].concat())?;
    }
    Ok(())
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    std::fs::write(directory.join(name), bytes)
}
