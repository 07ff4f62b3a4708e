//! Sessions that end by themselves: each is put with a time to live, and every request touches it, which sends no value again.
//! `cargo run --example sessions`.

use std::time::Duration;

use annals::{Bucket, BucketConfig, PutOptions, Store};

const IDLE: Duration = Duration::from_millis(500);

/// Handles a request: who is logged in under `token`, if the session is still alive; its end moves away.
fn request(sessions: &Bucket, token: &str) -> annals::Result<Option<String>> {
    let Some(user) = sessions.get_with(token, |user| String::from_utf8_lossy(user).into_owned())? else {
        println!("{token}: please log in");
        return Ok(None);
    };
    // It may end between the two calls; then it has ended.
    let alive = sessions.touch(token, PutOptions::new().ttl(IDLE))?.is_some();
    println!("{token}: {user} is {}", if alive { "at work" } else { "out of time" });
    Ok(alive.then_some(user))
}

#[expect(clippy::disallowed_methods, reason = "the story needs time to pass")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("data");
    let store = Store::open(&path)?;
    // Whatever is touched again and again: no session lives longer than a day.
    let config = BucketConfig::new("sessions").max_age(Duration::from_secs(86_400)).max_bytes(1 << 20);
    let sessions = store.create_bucket(config)?;

    sessions.put_with("token-1", "ada", PutOptions::new().ttl(IDLE))?;
    sessions.put_with("token-2", "grace", PutOptions::new().ttl(IDLE))?;
    for _ in 0..4 {
        std::thread::sleep(IDLE / 2);
        request(&sessions, "token-1")?;
    }
    request(&sessions, "token-2")?;
    println!("{} session alive", sessions.status()?.live_keys);

    // Time that passes while the store is shut counts, too.
    store.close()?;
    drop((sessions, store));
    std::thread::sleep(IDLE);
    let store = Store::open(&path)?;
    request(&store.bucket("sessions")?, "token-1")?;
    store.close()?;
    Ok(())
}
