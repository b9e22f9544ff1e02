//! Clocks: the time of day, and a monotonic one that starts at zero with the guest.

use std::time::{Duration, Instant, SystemTime};

use crate::abi::preview1::Wasi;
use crate::abi::preview1::errno::{Errno, Outcome};
use crate::memory::Memory;

/// The clocks a guest has. The processor time clocks of the ABI are `badf`: no engine can tell a guest's share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    Realtime,
    Monotonic,
}

const PROCESS_CPUTIME: u32 = 2;
const THREAD_CPUTIME: u32 = 3;

impl Clock {
    /// # Errors
    /// [`Errno::Badf`] for a clock that the host does not have, [`Errno::Inval`] for a number that names no clock.
    pub(super) fn of(id: u32) -> Outcome<Self> {
        match id {
            0 => Ok(Clock::Realtime),
            1 => Ok(Clock::Monotonic),
            PROCESS_CPUTIME | THREAD_CPUTIME => Err(Errno::Badf.into()),
            _ => Err(Errno::Inval.into()),
        }
    }

    /// Nanoseconds since 1970, or since the guest started.
    pub(super) fn now(self, wasi: &Wasi) -> u64 {
        let since = match self {
            Clock::Realtime => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
            Clock::Monotonic => wasi.start.elapsed(),
        };
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The moment at which this clock shows `time` nanoseconds, as far as that can be told now; `None` if it is
    /// beyond what the host's clock can express.
    pub(super) fn moment(self, wasi: &Wasi, time: u64) -> Option<Instant> {
        match self {
            Clock::Monotonic => wasi.start.checked_add(Duration::from_nanos(time)),
            Clock::Realtime => {
                let left = time.saturating_sub(self.now(wasi));
                Instant::now().checked_add(Duration::from_nanos(left))
            }
        }
    }
}

/// Both clocks count nanoseconds.
pub(super) fn res_get(_: &Wasi, memory: &mut Memory<'_>, id: u32, resolution: u32) -> Outcome {
    Clock::of(id)?;
    memory.write(resolution, &1u64.to_le_bytes())?;
    Ok(())
}

/// The precision asked for is met by every host, and not looked at.
pub(super) fn time_get(wasi: &Wasi, memory: &mut Memory<'_>, id: u32, _precision: u64, time: u32) -> Outcome {
    let now = Clock::of(id)?.now(wasi);
    memory.write(time, &now.to_le_bytes())?;
    Ok(())
}
