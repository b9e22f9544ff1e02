//! One line on a terminal that says what is taking so long.

use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::console::Console;
use crate::output::printable;

/// What takes less is not worth a line.
const PATIENCE: Duration = Duration::from_millis(500);

/// Shows `what ... 3s` on one line, from half a second on, until it is dropped; then the line is gone.
pub(crate) struct Progress {
    shown: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    pub(crate) fn start(console: Console, what: &str) -> Self {
        if !console.shows_progress() {
            return Progress { shown: None };
        }
        let what = printable(what).into_owned();
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name("wharf-progress".to_owned()).spawn(move || show(&what, &stopped));
        // A machine that has no thread left has other things to say.
        Progress { shown: thread.ok().map(|thread| (stop, thread)) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.shown.take() {
            drop(stop);
            // It ends by the drop above, and a panic in it has been told.
            let _ = thread.join();
        }
    }
}

fn show(what: &str, stopped: &mpsc::Receiver<()>) {
    let started = Instant::now();
    let (mut wait, mut shown) = (PATIENCE, false);
    while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        line(&format!("{what} ... {}s", started.elapsed().as_secs()));
        (wait, shown) = (Duration::from_secs(1), true);
    }
    if shown {
        line("");
    }
}

/// Puts `text` in place of the line the cursor is on.
pub(crate) fn line(text: &str) {
    let mut err = std::io::stderr().lock();
    // Progress that cannot be shown is no reason to fail.
    let _ = write!(err, "\r\x1b[K{text}").and_then(|()| err.flush());
}
