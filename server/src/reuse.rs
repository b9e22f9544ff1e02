//! How many requests an instance answers, and what a guest shows of whether it can answer more than one.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// How many requests an instance answers, one after another: a number, or a range of which one is drawn for each
/// instance, so that those that began at the same time do not all end at the same time.
///
/// Reads `8`, `1..8`, from 1 to 7, and `1..=8`, as ranges are written in Rust; each number is at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reuse {
    least: u32,
    most: u32,
}

/// What was given is not a [`Reuse`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a number from 1, for example 8, or a range that is not empty, for example 1..8 or 1..=8")]
pub struct ReuseError;

impl Reuse {
    /// Each instance answers one request.
    pub const ONCE: Reuse = Reuse { least: 1, most: 1 };

    /// As many as this; 0 is taken for 1, since an instance is made for a request.
    pub fn times(count: u32) -> Self {
        let count = count.max(1);
        Reuse { least: count, most: count }
    }

    /// From `least` to `most`, both included.
    ///
    /// # Errors
    /// If `least` is 0 or more than `most`.
    pub fn between(least: u32, most: u32) -> Result<Self, ReuseError> {
        if least == 0 || least > most { Err(ReuseError) } else { Ok(Reuse { least, most }) }
    }

    /// Whether an instance may answer a second request.
    pub(crate) fn is_more_than_once(self) -> bool {
        self.most > 1
    }

    /// How many requests the next instance answers.
    pub(crate) fn draw(self) -> u32 {
        let Some(numbers @ 2..) = (self.most - self.least).checked_add(1) else { return self.most };
        // Nothing depends on it that anybody could want to guess.
        getrandom::u32().map_or(self.most, |random| self.least + random % numbers)
    }
}

impl Default for Reuse {
    fn default() -> Self {
        Self::ONCE
    }
}

impl FromStr for Reuse {
    type Err = ReuseError;

    fn from_str(text: &str) -> Result<Self, ReuseError> {
        let number = |text: &str| text.parse::<u32>().map_err(|_| ReuseError);
        match text.split_once("..") {
            None => number(text).and_then(|count| Self::between(count, count)),
            Some((least, most)) => {
                let most = match most.strip_prefix('=') {
                    Some(most) => number(most)?,
                    None => number(most)?.checked_sub(1).ok_or(ReuseError)?,
                };
                Self::between(number(least)?, most)
            }
        }
    }
}

impl fmt::Display for Reuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reuse { least, most } if least == most => write!(f, "{most}"),
            Reuse { least, most } => write!(f, "{least}..={most}"),
        }
    }
}

/// How many instances may fail after their first request, for a reason that may be another, before the guest counts as one
/// that cannot answer two.
const ENOUGH: u32 = 3;

/// Whether instances of a guest can answer more than one request, as far as they have shown.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    /// An instance has answered a second request.
    can: AtomicBool,
    /// Instances that could not be given a second request, or failed with it, as a new one might have too.
    failures: AtomicU32,
    cannot: AtomicBool,
}

impl Learned {
    /// An instance has answered its second request.
    pub(crate) fn answered(&self) {
        self.can.store(true, Ordering::Relaxed);
    }

    /// An instance could not be given a second request, or has failed with it and, if `proven`, a new one has answered
    /// that. Returns whether it is known from now on that no instance of this guest can answer two.
    pub(crate) fn failed(&self, proven: bool) -> bool {
        let enough = || self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= ENOUGH;
        !self.can.load(Ordering::Relaxed) && (proven || enough()) && !self.cannot.swap(true, Ordering::Relaxed)
    }

    /// Whether each request has to have an instance of its own.
    pub(crate) fn cannot(&self) -> bool {
        self.cannot.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_numbers_and_ranges() {
        for (text, least, most, shown) in [
            ("1", 1, 1, "1"),
            ("1000", 1000, 1000, "1000"),
            ("1..8", 1, 7, "1..=7"),
            ("1..=8", 1, 8, "1..=8"),
            ("4..5", 4, 4, "4"),
            ("1..=4294967295", 1, u32::MAX, "1..=4294967295"),
        ] {
            let reuse: Reuse = text.parse().unwrap();
            assert_eq!((reuse, reuse.to_string().as_str()), (Reuse { least, most }, shown), "{text}");
            assert_eq!(shown.parse(), Ok(reuse), "{text}");
        }
        for text in ["", "0", "0..4", "4..4", "4..0", "5..=4", "..4", "4..", "4..=", "-1", "1..4..8", "4294967296", "x"]
        {
            assert_eq!(text.parse::<Reuse>(), Err(ReuseError), "{text}");
        }
        assert_eq!(Reuse::times(0), Reuse::ONCE);
    }

    #[test]
    fn every_number_of_a_range_is_drawn_and_no_other() {
        let reuse = Reuse::between(2, 4).unwrap();
        let mut drawn = [false; 6];
        for _ in 0..1000 {
            drawn[reuse.draw() as usize] = true;
        }
        assert_eq!(drawn, [false, false, true, true, true, false]);
        assert_eq!(Reuse::times(7).draw(), 7);
        assert!(Reuse::between(1, u32::MAX).unwrap().draw() >= 1);
    }

    #[test]
    fn a_guest_that_fails_twice_is_told_from_one_that_failed_once() {
        let proven = Learned::default();
        assert!(proven.failed(true) && proven.cannot());
        assert!(!proven.failed(true), "it is said once");

        let unexplained = Learned::default();
        assert!(!unexplained.failed(false) && !unexplained.failed(false) && !unexplained.cannot());
        assert!(unexplained.failed(false) && unexplained.cannot());

        let able = Learned::default();
        able.answered();
        assert!(!able.failed(true) && !able.cannot(), "what failed is one instance");
    }
}
