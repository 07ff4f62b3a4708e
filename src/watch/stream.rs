//! A watch for `async` code.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_core::stream::FusedStream;

use crate::engine::Next;
use crate::error::Result;
use crate::watch::{Event, Watch, WatchToken};

/// The events of a [`Watch`] as a [`Stream`]; see [`Watch::into_stream`]. Needs no runtime and starts no thread: a commit wakes the task.
///
/// At the beginning, and after it fell behind, polling reads files. A waker is called without any lock, by the thread that has committed or by one
/// of the store. It may read, and drop what it owns, the last handle of the store too. It must not wait for a write, a flush or a close: that
/// may be the work of the very thread that it holds up.
///
/// ```
/// use std::pin::pin;
/// use std::task::{Context, Poll, Waker};
///
/// use futures_core::Stream;
/// # let store = annals::Store::in_memory()?;
/// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
/// let mut stream = pin!(bucket.watch("a")?.into_stream());
/// let mut context = Context::from_waker(Waker::noop());
/// assert!(matches!(stream.as_mut().poll_next(&mut context), Poll::Ready(Some(Ok(annals::Event::UpToDate)))));
/// assert!(stream.as_mut().poll_next(&mut context).is_pending());
/// bucket.put("a", "1")?;
/// assert!(stream.as_mut().poll_next(&mut context).is_ready());
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct WatchStream {
    watch: Watch,
    is_over: bool,
}

impl WatchStream {
    pub(crate) const fn new(watch: Watch) -> Self {
        Self { watch, is_over: false }
    }

    /// Where it is; see [`Watch::token`]. May be asked for after each event.
    #[must_use]
    pub fn token(&self) -> WatchToken {
        self.watch.token()
    }

    /// The watch, to be read by a thread again.
    pub fn into_watch(self) -> Watch {
        self.watch
    }
}

impl Stream for WatchStream {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.watch.watcher().next_now() {
                Ok(Next::Notice(notice)) => return Poll::Ready(Some(Ok(notice.into()))),
                Ok(Next::Wait) => {
                    if !self.watch.watcher().wait_with(context.waker()) {
                        return Poll::Pending;
                    }
                }
                Ok(Next::Over) => {
                    self.is_over = true;
                    return Poll::Ready(None);
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl FusedStream for WatchStream {
    fn is_terminated(&self) -> bool {
        self.is_over
    }
}
