//! What is in a simulated file: sparse pages that are shared until somebody writes to them.
//!
//! A clone costs two counters, whatever the size, which makes snapshots and crashes cheap. A page that was never written is not
//! there and reads as zeros; so does everything beyond the length, also inside the last page.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::sync::Arc;

/// The unit of sharing and of space.
pub(super) const PAGE_LEN: usize = 4096;

type Page = [u8; PAGE_LEN];

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    len: u64,
    /// The pages `0..reserved` are paid for, written or not.
    reserved: u64,
    /// How many pages there are at or above `reserved`.
    loose: u64,
    pages: Arc<BTreeMap<u64, Arc<Page>>>,
}

impl Content {
    /// Pages of zeros are left out, so that a log file that was allocated ahead stays small.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut content = Self::default();
        for (index, page) in bytes.chunks(PAGE_LEN).enumerate() {
            if page.iter().any(|byte| *byte != 0) {
                content.write(page, (index * PAGE_LEN) as u64);
            }
        }
        content.set_len(bytes.len() as u64);
        content
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        for (page, bytes_page) in self.pages.iter() {
            let start = *page as usize * PAGE_LEN;
            let count = PAGE_LEN.min(bytes.len() - start);
            bytes[start..start + count].copy_from_slice(&bytes_page[..count]);
        }
        bytes
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// How many pages the file takes on the disk.
    pub(super) fn blocks(&self) -> u64 {
        self.reserved + self.loose
    }

    /// How many bytes of a write of `len` at `offset` find space if `free` pages are left.
    pub(super) fn fitting(&self, offset: u64, len: usize, mut free: u64) -> usize {
        let mut done = 0;
        while done < len {
            let (page, start) = place(offset + done as u64);
            if page >= self.reserved && !self.pages.contains_key(&page) {
                if free == 0 {
                    break;
                }
                free -= 1;
            }
            done += (len - done).min(PAGE_LEN - start);
        }
        done
    }

    /// How many more pages `allocate(len)` takes.
    pub(super) fn allocation(&self, len: u64) -> u64 {
        let target = len.div_ceil(PAGE_LEN as u64);
        if target <= self.reserved {
            return 0;
        }
        target - self.reserved - self.pages.range(self.reserved..target).count() as u64
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let count = buffer.len().min(usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX));
        let mut done = 0;
        while done < count {
            let (page, start) = place(offset + done as u64);
            let part = (count - done).min(PAGE_LEN - start);
            match self.pages.get(&page) {
                Some(page) => buffer[done..done + part].copy_from_slice(&page[start..start + part]),
                None => buffer[done..done + part].fill(0),
            }
            done += part;
        }
        count
    }

    /// Writes all of `bytes` and extends the file if it ends before them.
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        if bytes.is_empty() {
            return;
        }
        let pages = Arc::make_mut(&mut self.pages);
        let mut done = 0;
        while done < bytes.len() {
            let (page, start) = place(offset + done as u64);
            let part = (bytes.len() - done).min(PAGE_LEN - start);
            let target = match pages.entry(page) {
                Slot::Occupied(slot) => slot.into_mut(),
                Slot::Vacant(slot) => {
                    self.loose += u64::from(page >= self.reserved);
                    slot.insert(Arc::new([0; PAGE_LEN]))
                }
            };
            Arc::make_mut(target)[start..start + part].copy_from_slice(&bytes[done..done + part]);
            done += part;
        }
        self.grow(offset + bytes.len() as u64);
    }

    /// Extends to `len`; never cuts.
    pub(super) fn grow(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let (page, start) = place(len);
            let pages = Arc::make_mut(&mut self.pages);
            let mut gone = pages.split_off(&page);
            if let Some(mut cut) = gone.remove(&page).filter(|_| start > 0) {
                Arc::make_mut(&mut cut)[start..].fill(0);
                pages.insert(page, cut);
            }
            self.reserved = self.reserved.min(len.div_ceil(PAGE_LEN as u64));
            self.count_loose();
        }
        self.len = len;
    }

    pub(super) fn allocate(&mut self, len: u64) {
        self.reserved = self.reserved.max(len.div_ceil(PAGE_LEN as u64));
        self.count_loose();
        self.grow(len);
    }

    fn count_loose(&mut self) {
        self.loose = self.pages.range(self.reserved..).count() as u64;
    }
}

/// The page that holds `offset`, and where in it.
fn place(offset: u64) -> (u64, usize) {
    (offset / PAGE_LEN as u64, (offset % PAGE_LEN as u64) as usize)
}
