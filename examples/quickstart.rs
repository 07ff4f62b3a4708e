//! The program of README.md, word for word: `cargo run --example quickstart`.

use annals::{BucketConfig, ErrorKind, Store};

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
    for key in users.keys()? {
        println!("{}", key?);
    }
    store.close()
}
