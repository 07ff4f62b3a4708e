//! What `MemoryFs` promises beyond what the comparison with the simulated disk (`testing::disk`) shows.

use super::*;

fn fs() -> MemoryFs {
    let fs = MemoryFs::default();
    fs.create_dir(Path::new("/db")).unwrap();
    fs
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.err().expect("an error").kind()
}

#[test]
fn errors_have_the_kinds_of_the_operating_system() {
    let fs = fs();
    let (db, a, b) = (Path::new("/db"), Path::new("/db/a"), Path::new("/db/b"));
    drop(fs.create_new(a).unwrap());
    assert_eq!(kind(fs.create_dir(db)), ErrorKind::AlreadyExists);
    assert_eq!(kind(fs.create_dir(Path::new("/no/such"))), ErrorKind::NotFound);
    assert_eq!(kind(fs.create_new(a)), ErrorKind::AlreadyExists);
    assert_eq!(kind(fs.create_new(Path::new("/no/such"))), ErrorKind::NotFound);
    assert_eq!(kind(fs.open(b)), ErrorKind::NotFound);
    assert_eq!(kind(fs.remove(b)), ErrorKind::NotFound);
    assert_eq!(kind(fs.rename(b, a)), ErrorKind::NotFound);
    assert_eq!(kind(fs.list(b)), ErrorKind::NotFound);
    assert_eq!(kind(fs.list(a)), ErrorKind::NotADirectory);
    assert_eq!(kind(fs.sync_dir(b)), ErrorKind::NotFound);
    assert_eq!(kind(fs.open(db)), ErrorKind::IsADirectory);
    let read_only = fs.open(a).unwrap();
    assert_eq!(read_only.write_at(b"x", 0).unwrap_err().raw_os_error(), Some(BAD_FILE));
    let _lock = fs.lock(b, LockMode::Exclusive).unwrap();
    assert_eq!(kind(fs.lock(b, LockMode::Shared)), ErrorKind::WouldBlock);
}

#[test]
fn a_listing_has_the_names_of_its_directory_only() {
    let fs = fs();
    fs.create_dir(Path::new("/db/sub")).unwrap();
    drop(fs.create_new(Path::new("/db/a")).unwrap());
    drop(fs.create_new(Path::new("/db/sub/b")).unwrap());
    let mut names = fs.list(Path::new("/db")).unwrap();
    names.sort();
    assert_eq!(names, ["a", "sub"]);
    assert_eq!(fs.list(Path::new("/")).unwrap(), ["db"]);
}

#[test]
fn what_was_allocated_and_not_written_takes_no_memory() {
    let mut content = Content::default();
    content.set_len(64 << 20);
    content.write(b"x", 32 << 20);
    assert_eq!((content.len, content.chunks.len()), (64 << 20, 1));
}

#[test]
fn a_mapped_file_is_held_once_and_a_later_write_leaves_the_map_alone() {
    let file = fs().create_new(Path::new("/db/a")).unwrap();
    let bytes: Vec<u8> = (0..200_000_u32).map(|index| index as u8).collect();
    file.write_at(&bytes, 0).unwrap();
    let maps = [file.map().unwrap(), file.map().unwrap()];
    assert!(std::ptr::eq((*maps[0]).as_ref(), (*maps[1]).as_ref()), "one copy for all maps");
    let mut read = vec![0; bytes.len()];
    assert_eq!(file.read_at(&mut read, 0).unwrap(), bytes.len());
    assert_eq!(read, bytes, "the file reads from the map's copy");
    file.write_at(b"change", 100_000).unwrap();
    assert_eq!((*maps[0]).as_ref(), bytes);
    assert_eq!(file.read_at(&mut read[..7], 99_999).unwrap(), 7);
    assert_eq!(read[1..7], *b"change");
    assert_eq!(read[0], bytes[99_999]);
}

#[test]
fn a_file_that_no_memory_could_hold_is_an_error_to_map() {
    let file = fs().create_new(Path::new("/db/a")).unwrap();
    file.write_at(b"x", FILE_LEN_MAX - 1).unwrap();
    assert_eq!(kind(file.map()), ErrorKind::OutOfMemory);
    assert_eq!(kind(file.write_at(b"x", FILE_LEN_MAX)), ErrorKind::FileTooLarge);
}
