//! What was it before, and who changed it when: the history of a key, the entry of a revision, and the state as of a revision.
//! `cargo run --example audit`.

use std::time::SystemTime;

use annals::{BucketConfig, ErrorKind, Operation, Revision, Store};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let store = Store::open(directory.path().join("data"))?;
    let prices = store.create_bucket(BucketConfig::new("prices").history(4))?;

    prices.put("apple", "1.10")?;
    let spring = prices.put("pear", "2.00")?;
    prices.put("apple", "1.30")?;
    prices.delete("pear")?;
    prices.put("apple", "1.25")?;

    println!("everything that is kept, in the order in which it happened:");
    for entry in prices.history(">")? {
        let entry = entry?;
        let what = match entry.operation() {
            Operation::Put => format!("= {:?}", entry.value()),
            operation => format!("{operation:?}"),
        };
        let created = entry.created().duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
        println!("  {:>2}  {created} ms  {} {what}", entry.revision(), entry.key());
    }

    println!("as of revision {spring}, when that was the newest:");
    for key in ["apple", "pear"] {
        println!("  {key} {:?}", prices.get_as_of(key, spring)?);
    }
    let third = prices.entry_at("apple", Revision::from(3))?.ok_or("it is kept")?;
    println!("revision 3 was {} {:?}", third.key(), third.value());

    // What history no longer holds is said to be so, never guessed.
    for price in ["1.20", "1.15", "1.05"] {
        prices.put("apple", price)?;
    }
    match prices.get_as_of("apple", Revision::from(1)) {
        Err(error) if error.kind() == ErrorKind::Compacted => println!("revision 1: {error}"),
        answer => println!("revision 1: {answer:?}"),
    }
    store.close()?;
    Ok(())
}
