//! How much memory one instance may take, all together: its own memories and tables, and what the host keeps for it.
//!
//! Handles, header fields, strings, bodies that wait to be read or sent: whatever a guest makes the host keep is
//! charged here by what it really takes, allocations and bookkeeping included, and given back when it is dropped. A
//! charge is a guard, so that nothing has to remember to give it back, and one atomic addition, so that it may be made
//! anywhere.
//!
//! What cannot be kept is refused where the ABI has an error for it. Else it ends the guest.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::error::{Error, Kind};
use crate::stop::Stop;

/// What an allocation takes beyond its bytes: the allocator's own word, and what rounding up adds.
const ALLOCATION: u64 = 16;

/// What [`Budget::hold`] takes beyond the bytes.
const HELD: u64 = 128;

/// The name of the limit of a [`TotalMemory`].
const TOTAL: &str = "max-total-memory";

/// In which steps a budget takes from the [`TotalMemory`] that it is part of.
const STEP: u64 = 256 << 10;

/// What an allocation of `len` bytes takes: nothing, if there is none.
pub(crate) const fn allocation(len: usize) -> u64 {
    if len == 0 { 0 } else { len as u64 + ALLOCATION }
}

/// The memory of one instance. Clones share it.
#[derive(Clone)]
pub struct Budget(Arc<Account>);

struct Account {
    limit: u64,
    used: AtomicU64,
    share: Option<Share>,
}

/// What a budget has taken from a total.
struct Share {
    total: TotalMemory,
    taken: Mutex<u64>,
    /// The same as in `taken`, to be read without waiting.
    seen: AtomicU64,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Budget(Arc::new(Account { limit, used: AtomicU64::new(0), share: None }))
    }

    /// A budget of `limit` bytes that is part of `total`, if there is one, and at most what `total` allows each instance.
    pub fn within(limit: u64, total: Option<TotalMemory>) -> Self {
        let limit = total.as_ref().map_or(limit, |total| limit.min(total.0.each));
        let share = total.map(|total| Share { total, taken: Mutex::new(0), seen: AtomicU64::new(0) });
        Budget(Arc::new(Account { limit, used: AtomicU64::new(0), share }))
    }

    /// A budget without a limit, for embedders that limit a guest in another way.
    pub fn unlimited() -> Self {
        Budget::new(u64::MAX)
    }

    /// How many bytes are charged.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// How many bytes may be charged at a time.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Charges `bytes` until the guard is dropped.
    ///
    /// # Errors
    /// If less than that is left.
    pub fn charge(&self, bytes: u64) -> Result<Charge, Exceeded> {
        self.take(bytes)?;
        Ok(Charge { budget: self.clone(), bytes })
    }

    /// A charge of nothing, to be [resized](Charge::resize).
    pub fn nothing(&self) -> Charge {
        Charge { budget: self.clone(), bytes: 0 }
    }

    /// The same bytes, charged for as long as any part of them is kept, wherever they go.
    ///
    /// # Errors
    /// If less than that is left.
    pub fn hold(&self, bytes: Bytes) -> Result<Bytes, Exceeded> {
        if bytes.is_empty() {
            return Ok(bytes);
        }
        let charge = self.charge(bytes.len() as u64 + HELD)?;
        Ok(Bytes::from_owner(Held { bytes, _charge: charge }))
    }

    fn take(&self, bytes: u64) -> Result<(), Exceeded> {
        let account = &*self.0;
        let add = |used: u64| used.checked_add(bytes).filter(|used| *used <= account.limit);
        let before = account
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .map_err(|_| Exceeded { limit: account.limit, option: "max-memory" })?;
        let Some(share) = &account.share else { return Ok(()) };
        if before + bytes <= share.seen.load(Ordering::Relaxed) {
            return Ok(());
        }
        share.cover(&account.used).inspect_err(|_| _ = account.used.fetch_sub(bytes, Ordering::Relaxed))
    }

    fn give_back(&self, bytes: u64) {
        let before = self.0.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(share) = &self.0.share
            && Share::most(before - bytes) < share.seen.load(Ordering::Relaxed)
        {
            share.uncover(&self.0.used);
        }
    }
}

impl Share {
    /// The most that is taken for so many bytes: one step more than they need, which may soon be wanted again.
    fn most(used: u64) -> u64 {
        used.saturating_add(STEP).checked_next_multiple_of(STEP).unwrap_or(u64::MAX)
    }

    /// Takes what is missing for what is used.
    fn cover(&self, used: &AtomicU64) -> Result<(), Exceeded> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = used.load(Ordering::Relaxed).checked_next_multiple_of(STEP).unwrap_or(u64::MAX);
        if wanted > *taken {
            self.total.take(wanted - *taken)?;
            *taken = wanted;
            self.seen.store(wanted, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Gives back what is too much for what is used.
    fn uncover(&self, used: &AtomicU64) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = Self::most(used.load(Ordering::Relaxed));
        if wanted < *taken {
            self.total.give_back(*taken - wanted);
            *taken = wanted;
            self.seen.store(wanted, Ordering::Relaxed);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let taken = *self.taken.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.total.give_back(taken);
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("limit", &self.limit()).field("used", &self.used()).finish_non_exhaustive()
    }
}

/// The memory of all instances that share it, as those of one server. Clones share it.
#[derive(Clone)]
pub struct TotalMemory(Arc<Totals>);

struct Totals {
    limit: u64,
    /// How much of it one instance may take.
    each: u64,
    used: AtomicU64,
    given_back: AtomicU64,
}

impl TotalMemory {
    /// A total of `limit` bytes, all of which one instance may take.
    pub fn new(limit: u64) -> Self {
        TotalMemory::shared(limit, limit)
    }

    /// A total of `limit` bytes, of which one instance may take at most `each`, or
    /// [`LoadOptions::max_memory`](crate::LoadOptions::max_memory) if that is less. Unlike that limit, it is not part of the
    /// compiled code.
    pub fn shared(limit: u64, each: u64) -> Self {
        TotalMemory(Arc::new(Totals { limit, each, used: AtomicU64::new(0), given_back: AtomicU64::new(0) }))
    }

    /// How many bytes the instances have taken. Each takes in steps, so that it has a little more than it uses.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> Result<(), Exceeded> {
        let add = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.0.limit);
        let taken = self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        taken.map(drop).map_err(|_| Exceeded { limit: self.0.limit, option: TOTAL })
    }

    /// How many bytes instances have given back so far; the allocator may still hold on to them.
    pub fn given_back(&self) -> u64 {
        self.0.given_back.load(Ordering::Relaxed)
    }

    fn give_back(&self, bytes: u64) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
        self.0.given_back.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl fmt::Debug for TotalMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TotalMemory").field("limit", &self.0.limit).field("used", &self.used()).finish()
    }
}

/// Bytes that are charged. Dropping it gives them back.
#[derive(Debug)]
pub struct Charge {
    budget: Budget,
    bytes: u64,
}

impl Charge {
    /// Charges `bytes` instead of what is charged now.
    ///
    /// # Errors
    /// If less than that is left; then nothing changes.
    pub fn resize(&mut self, bytes: u64) -> Result<(), Exceeded> {
        if bytes > self.bytes {
            self.budget.take(bytes - self.bytes)?;
        } else if bytes < self.bytes {
            self.budget.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Gives back this many bytes, or all of them if there are fewer.
    pub fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.budget.give_back(bytes);
        self.bytes -= bytes;
    }

    /// Charges this many more bytes.
    ///
    /// # Errors
    /// If less than that is left; then nothing changes.
    pub fn grow(&mut self, bytes: u64) -> Result<(), Exceeded> {
        self.resize(self.bytes.saturating_add(bytes))
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.give_back(self.bytes);
        }
    }
}

/// Bytes with their charge.
struct Held {
    bytes: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Not enough memory is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the guest, including what the host keeps for it, would use more than {limit} bytes of memory: raise the limit \
     `{option}`"
)]
pub struct Exceeded {
    limit: u64,
    /// The limit's name, as the command has it.
    option: &'static str,
}

impl Exceeded {
    /// Whether the [`TotalMemory`] is used up: other guests use it, and may give some back.
    pub fn is_total(&self) -> bool {
        self.option == TOTAL
    }

    /// The `Exceeded` that made an operation fail, if it was one.
    pub fn of(error: &Error) -> Option<&Exceeded> {
        std::error::Error::source(error).and_then(|source| source.downcast_ref())
    }
}

impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Self {
        Error::new(Kind::Limit, "there is no memory left").with_source(exceeded)
    }
}

impl From<Exceeded> for Stop {
    fn from(exceeded: Exceeded) -> Self {
        Stop::Error(exceeded.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back_at_once() {
        let budget = Budget::new(100);
        let mut one = budget.charge(60).unwrap();
        assert_eq!(budget.charge(41).unwrap_err().option, "max-memory");
        let two = budget.charge(40).unwrap();
        assert!(one.grow(1).is_err());
        drop(two);
        one.resize(100).unwrap();
        one.resize(1).unwrap();
        assert_eq!(budget.used(), 1);
        drop(one);
        assert_eq!(budget.used(), 0);
        assert!(Budget::unlimited().charge(u64::MAX).is_ok());
        assert!(budget.charge(u64::MAX).is_err());
    }

    #[test]
    fn held_bytes_are_charged_while_any_part_of_them_is_kept() {
        let budget = Budget::new(1000);
        let mut bytes = budget.hold(Bytes::from(vec![7; 500])).unwrap();
        assert!(budget.hold(Bytes::from(vec![7; 500])).is_err());
        let part = bytes.split_to(10);
        drop(bytes);
        assert_eq!(budget.used(), 500 + HELD);
        assert_eq!(part, vec![7; 10]);
        drop(part);
        assert_eq!(budget.used(), 0);
        assert!(Budget::new(0).hold(Bytes::new()).is_ok());
    }

    #[test]
    fn a_total_is_shared_and_given_back() {
        let total = TotalMemory::new(4 * STEP);
        let [one, two] = [Budget::within(u64::MAX, Some(total.clone())), Budget::within(u64::MAX, Some(total.clone()))];
        let large = one.charge(2 * STEP + 1).unwrap();
        assert_eq!(total.used(), 3 * STEP);
        let small = two.charge(STEP).unwrap();
        assert_eq!(two.charge(1).unwrap_err().option, "max-total-memory");
        assert_eq!(two.used(), STEP, "what is refused is not charged");
        drop(large);
        assert!(total.used() <= 2 * STEP);
        let more = two.charge(STEP).unwrap();
        drop((small, more, two));
        let three = Budget::within(2 * STEP, Some(TotalMemory::shared(4 * STEP, STEP)));
        assert_eq!((three.limit(), three.charge(STEP + 1).unwrap_err().option), (STEP, "max-memory"));
        drop(one);
        assert_eq!(total.used(), 0);
    }
}
