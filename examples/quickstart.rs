//! The program of README.md, word for word: `cargo run --example quickstart`.

use annals::{BucketConfig, ErrorKind, Event, Store};

fn main() -> annals::Result<()> {
    let store = Store::open("annals-quickstart")?; // a directory, created if missing
    let users = store.create_bucket(BucketConfig::new("users").history(8))?;

    let first = users.put("eu.42.email", "ada@example.org")?;
    users.put("eu.42.email", "countess@example.org")?;
    match users.update("eu.42.email", "lovelace@example.org", first) {
        Err(error) if error.kind() == ErrorKind::WrongRevision => println!("not applied: {error}"),
        answer => println!("applied as revision {}", answer?),
    }
    for entry in users.history("eu.*.email")? {
        let entry = entry?;
        println!("{} {:?} {} {:?}", entry.revision(), entry.operation(), entry.key(), entry.value());
    }
    for event in users.watch("eu.>")? {
        match event? {
            Event::Entry(entry) => println!("{} = {:?} at {}", entry.key(), entry.value(), entry.revision()),
            Event::UpToDate => break, // that was the state; go on, and every change follows as it is committed
            _ => {}
        }
    }
    store.close()
}
