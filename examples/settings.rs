//! Settings that belong together are changed together: a batch over two buckets, with conditions on what was read and a check of what
//! must not have changed meanwhile. `cargo run --example settings`.

use annals::{Bucket, BucketConfig, ErrorKind, Revision, Store};

/// Moves the service to another host and port, if nobody else changed either and it is not frozen; logs who did it.
fn relocate(store: &Store, host: &str, port: &str, who: &str) -> annals::Result<bool> {
    let (settings, audit) = (store.bucket("settings")?, store.bucket("audit")?);
    loop {
        let (host_at, port_at) = (revision_of(&settings, "db.host")?, revision_of(&settings, "db.port")?);
        let frozen = revision_of(&settings, "frozen")?;
        if settings.get("frozen")?.is_some_and(|value| value == *b"yes") {
            println!("{who}: the settings are frozen");
            return Ok(false);
        }
        let committed = store
            .batch()
            .check(&settings, "frozen", frozen)
            .update(&settings, "db.host", host, host_at)
            .update(&settings, "db.port", port, port_at)
            .put(&audit, "relocations", format!("{who}: {host}:{port}"))
            .commit();
        match committed {
            Ok(revisions) => {
                println!("{who}: {host}:{port}, revisions {revisions:?}");
                return Ok(true);
            }
            Err(error) if error.kind() == ErrorKind::WrongRevision => println!("{who}: once more, {error}"),
            Err(error) => return Err(error),
        }
    }
}

/// The revision that a condition names; none if the key has no entry.
fn revision_of(bucket: &Bucket, key: &str) -> annals::Result<Revision> {
    Ok(bucket.entry(key)?.map_or(Revision::NONE, |entry| entry.revision()))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let store = Store::open(directory.path().join("data"))?;
    let settings = store.create_bucket(BucketConfig::new("settings").history(10))?;
    let audit = store.create_bucket(BucketConfig::new("audit").history(64))?;

    assert!(relocate(&store, "alpha", "5432", "ada")?);
    assert!(relocate(&store, "beta", "5433", "grace")?);
    settings.put("frozen", "yes")?;
    assert!(!relocate(&store, "gamma", "5434", "alan")?);

    // A batch that meets a change is refused whole.
    let stale = store.batch().put(&settings, "db.host", "delta").check(&settings, "frozen", Revision::NONE).commit();
    println!("too late: {}", stale.err().ok_or("it must not be applied")?);
    for key in ["db.host", "db.port"] {
        println!("{key} = {:?}", settings.get(key)?.ok_or("it was set")?);
    }
    for entry in audit.history("relocations")? {
        println!("audit: {:?}", entry?.value());
    }
    store.close()?;
    Ok(())
}
