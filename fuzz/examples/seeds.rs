//! Writes a small corpus for each fuzz target that gains from one: `cargo run --example seeds -- fuzz/corpus`.
//!
//! Everything is made by the code of today, by running a store or by its builders, and nothing of it is kept in the repository: a file
//! of an older format would only teach the fuzzer the refusal. The first byte of an input is the mode of its target.

use std::error::Error;
use std::fs;
use std::path::Path;

use annals::testing::disk::SimDisk;
use annals::testing::segment;
use annals::{BucketConfig, Options};

const TEXTS: [&str; 7] = ["a.b\na.b", "a.*\na.b", "a.>\na.b.c", ">\na", "*.*\na.b.c", "a..b\n.a", "orders.*.42\norders.eu.42"];

fn main() -> Result<(), Box<dyn Error>> {
    let Some(directory) = std::env::args_os().nth(1) else {
        return Err("name the directory of the corpora".into());
    };
    let corpora = Path::new(&directory);
    let write = |target: &str, name: &str, mode: u8, bytes: &[u8]| {
        let corpus = corpora.join(target);
        fs::create_dir_all(&corpus)?;
        fs::write(corpus.join(name), [&[mode], bytes].concat())
    };
    for shape in 0..8_u8 {
        let bytes = segment::valid_segment_bytes(shape.into());
        for mode in [0, 2] {
            write("segment", &format!("valid-{shape}-{mode}"), mode, &bytes)?;
        }
        write("segment", &format!("edited-{shape}"), shape * 2 + 1, &[0, 0x40, 0, 1, 0])?;
        let program: Vec<u8> = (0..400_u32).map(|step| (step.wrapping_mul(0x9e37_79b9) >> (7 + shape)) as u8).collect();
        write("ops_vs_model", &format!("program-{shape}"), shape, &program)?;
        write("wal_file", &format!("edited-{shape}"), 255, &[shape.wrapping_mul(40), shape % 6, 1 << shape])?;
        for (number, bytes) in manifests(shape)?.iter().enumerate() {
            write("manifest", &format!("valid-{shape}-{number}"), 0, bytes)?;
        }
    }
    for (number, text) in TEXTS.iter().enumerate() {
        write("subject", &format!("text-{number}"), 0, text.as_bytes())?;
        write("subject", &format!("dense-{number}"), 15, text.as_bytes())?;
    }
    Ok(())
}

/// What stands in the manifest of a store that has lived a little.
fn manifests(shape: u8) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let disk = SimDisk::new(shape.into());
    let store = Options::new().env(disk.env()).manual_jobs().sizes(4 << 10, 2 << 10, 128).open("/db")?;
    for number in 0..shape {
        let config = BucketConfig::new(format!("bucket-{number}")).history(number + 1).description("seed");
        store.create_bucket(config)?.put("key", vec![number; 300])?;
        store.flush()?;
    }
    store.close()?;
    let is_manifest = |path: &Path| path.file_name().is_some_and(|name| name == "MANIFEST");
    let found = disk.files().into_iter().filter(|(path, _)| is_manifest(path)).filter_map(|(path, _)| disk.read_file(&path));
    Ok(found.collect())
}
