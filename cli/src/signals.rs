//! SIGINT, SIGTERM and SIGHUP end the guest; a second one ends the process. SIGHUP does not where whoever started the
//! process had it ignored, as nohup(1) does.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::low_level::{self, signal_name};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// Has a write beyond the limit of a file's size fail, as one to a full disk does, instead of ending the process.
pub(crate) fn outlive_large_files() {
    // Where it cannot be, the system ends the process as before. Nobody looks at the flag.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
}

/// The run was stopped by this signal.
#[derive(Debug)]
pub(crate) struct Stopped(i32);

impl Stopped {
    /// What a shell gives for a child that the signal ended.
    pub(crate) fn code(&self) -> u8 {
        u8::try_from(128 + self.0).unwrap_or(u8::MAX)
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match signal_name(self.0) {
            Some(name) => write!(f, "stopped by {name}"),
            None => write!(f, "stopped by signal {}", self.0),
        }
    }
}

impl std::error::Error for Stopped {}

/// Listens for signals until the process ends.
#[derive(Clone)]
pub(crate) struct Signals {
    state: Arc<State>,
}

/// What listens, once something does.
static LISTENING: Mutex<Option<Signals>> = Mutex::new(None);

#[derive(Default)]
struct State {
    guest: CancellationToken,
    running: AtomicBool,
    caught: AtomicI32,
}

impl Signals {
    /// Starts to listen, unless something does. Until [`guest_starts`](Self::guest_starts), one signal ends the process.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let mut listening = LISTENING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signals) = &*listening {
            return Ok(signals.clone());
        }
        let state = Arc::new(State::default());
        let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| *signal != SIGHUP || !is_ignored(*signal));
        let mut signals = signal_hook::iterator::Signals::new(wanted).context("cannot listen for signals")?;
        let listener = Arc::clone(&state);
        std::thread::Builder::new()
            .name("wharf-signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    let first = listener.caught.swap(signal, Ordering::SeqCst) == 0;
                    if !first || !listener.running.load(Ordering::SeqCst) {
                        low_level::exit(128 + signal);
                    }
                    listener.guest.cancel();
                }
            })
            .context("cannot start the thread that listens for signals")?;
        Ok(listening.insert(Signals { state }).clone())
    }

    /// Waits for `work` on `runtime`. The first signal drops it, so that what it has started ends with it.
    pub(crate) fn wait<T>(&self, runtime: &Runtime, work: impl Future<Output = T>) -> Result<T, Stopped> {
        let stop = self.guest_starts();
        let done = runtime.block_on(stop.run_until_cancelled_owned(work));
        self.state.running.store(false, Ordering::SeqCst);
        match (done, self.stopped()) {
            (Some(done), None) => Ok(done),
            (_, stopped) => Err(stopped.unwrap_or(Stopped(SIGINT))),
        }
    }

    /// From here on, the first signal cancels the token returned.
    pub(crate) fn guest_starts(&self) -> CancellationToken {
        self.state.running.store(true, Ordering::SeqCst);
        self.state.guest.clone()
    }

    /// The signal that cancelled the guest, if one did.
    pub(crate) fn stopped(&self) -> Option<Stopped> {
        match self.state.caught.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(Stopped(signal)),
        }
    }
}

/// Whether the process ignores a signal; where the system does not say, it does not.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (signal - 1) & 1 == 1
}
