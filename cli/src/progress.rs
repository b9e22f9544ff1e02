//! One line that says what is taking so long: on a terminal while it does, else in the log.

use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::console::Console;
use crate::output::printable;

/// What takes less is not worth a line.
const PATIENCE: Duration = Duration::from_millis(500);

/// What takes longer is worth a line in the log, where no line can be taken back.
const LONG: Duration = Duration::from_secs(10);

/// Shows `what ... 3s` on one line, from half a second on, until it is dropped; then the line is gone. Where there is
/// no terminal, says once that it takes long, and in the end how long.
pub(crate) struct Progress {
    shown: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    pub(crate) fn start(console: Console, what: &str) -> Self {
        let tell = if console.shows_progress() { show } else { log };
        let what = printable(what).into_owned();
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name("wharf-progress".to_owned()).spawn(move || tell(&what, &stopped));
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

fn log(what: &str, stopped: &mpsc::Receiver<()>) {
    let started = Instant::now();
    if stopped.recv_timeout(LONG) == Err(RecvTimeoutError::Timeout) {
        tracing::warn!("{what} takes longer than {} s", LONG.as_secs());
        // Nothing is sent: it ends with the sender.
        let _ = stopped.recv();
        tracing::warn!("{what} took {} s", started.elapsed().as_secs());
    }
}

/// Puts `text` in place of the line the cursor is on.
pub(crate) fn line(text: &str) {
    let mut err = std::io::stderr().lock();
    // It is not an error if progress cannot be shown.
    let _ = write!(err, "\r\x1b[K{text}").and_then(|()| err.flush());
}
