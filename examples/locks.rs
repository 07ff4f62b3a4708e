//! Locks with leases: whoever creates the key holds the lock, must renew it before its time to live is over, and releases it only if it is
//! still the holder. `cargo run --example locks`.

use std::time::Duration;

use annals::{Bucket, BucketConfig, ErrorKind, PutOptions, Revision, Store};

const LEASE: Duration = Duration::from_millis(1500);

/// A lock that is held: its revision proves it.
struct Held {
    holder: &'static str,
    revision: Revision,
}

fn acquire(locks: &Bucket, name: &str, holder: &'static str) -> annals::Result<Option<Held>> {
    match locks.create_with(name, holder, PutOptions::new().ttl(LEASE)) {
        Ok(revision) => {
            println!("{holder} holds {name}, revision {revision}");
            Ok(Some(Held { holder, revision }))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            println!("{holder} does not get {name}: {error}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The lease begins anew; `false` if somebody else has the lock by now.
fn renew(locks: &Bucket, name: &str, held: &mut Held) -> annals::Result<bool> {
    match locks.update_with(name, held.holder, held.revision, PutOptions::new().ttl(LEASE)) {
        Ok(revision) => held.revision = revision,
        Err(error) if error.kind() == ErrorKind::WrongRevision => return Ok(false),
        Err(error) => return Err(error),
    }
    println!("{} renewed {name}, revision {}", held.holder, held.revision);
    Ok(true)
}

/// Gives the lock back; `false` if it was lost before.
fn release(locks: &Bucket, name: &str, held: &Held) -> annals::Result<bool> {
    match locks.delete_expect_revision(name, held.revision) {
        Ok(_) => println!("{} released {name}", held.holder),
        Err(error) if error.kind() == ErrorKind::WrongRevision => {
            println!("{} had lost {name}: {error}", held.holder);
            return Ok(false);
        }
        Err(error) => return Err(error),
    }
    Ok(true)
}

#[expect(clippy::disallowed_methods, reason = "the story needs time to pass")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let store = Store::open(directory.path().join("data"))?;
    let locks = store.create_bucket(BucketConfig::new("locks"))?;

    let mut first = acquire(&locks, "nightly-job", "worker 1")?.ok_or("nobody else is there yet")?;
    assert!(acquire(&locks, "nightly-job", "worker 2")?.is_none());
    assert!(renew(&locks, "nightly-job", &mut first)?);
    assert!(release(&locks, "nightly-job", &first)?);

    let stuck = acquire(&locks, "nightly-job", "worker 2")?.ok_or("it was released")?;
    println!("{} does not come back in time ...", stuck.holder);
    std::thread::sleep(LEASE);
    let mut second = acquire(&locks, "nightly-job", "worker 3")?.ok_or("the lease is over")?;
    assert!(!release(&locks, "nightly-job", &stuck)?);
    assert!(renew(&locks, "nightly-job", &mut second)?);
    assert!(release(&locks, "nightly-job", &second)?);
    store.close()?;
    Ok(())
}
