//! Random input that is the same each time, and how much of it there is.

use crate::case::{CaseResult, Unmet};

/// The variable that asks for another number of random programs.
pub(crate) const PROGRAMS: &str = "WHARF_RANDOM_PROGRAMS";

/// The variable that names another seed.
pub(crate) const SEED: &str = "WHARF_RANDOM_SEED";

/// The number that a variable of the environment has, if it is set.
pub(crate) fn number(variable: &str, otherwise: u64) -> CaseResult<u64> {
    match std::env::var(variable) {
        Ok(number) => number.parse().map_err(|_| Unmet::failed(format!("{variable}={number:?} is not a valid number"))),
        Err(_) => Ok(otherwise),
    }
}

/// The seed that was asked for, or one that is the same each time.
pub(crate) fn seed() -> CaseResult<u64> {
    number(SEED, 0x5eed)
}

/// Numbers that look random and are the same each time (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
