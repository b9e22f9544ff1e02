//! Choices that are the same each time.

/// Xorshift: deterministic, and good enough to choose with.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(0x9E37_79B9_7F4A_7C15 ^ seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A number at which code goes wrong, if it does.
    pub(crate) fn odd(&mut self) -> u32 {
        const ODD: [u32; 16] = [
            0,
            1,
            2,
            3,
            7,
            64,
            255,
            0xd800,
            65_530,
            65_535,
            65_536,
            1 << 30,
            (1 << 31) - 1,
            1 << 31,
            u32::MAX - 1,
            u32::MAX,
        ];
        ODD[self.below(ODD.len())]
    }

    /// Changes some bytes behind the first eight, which say what the rest is.
    pub(crate) fn damage(&mut self, wasm: &[u8]) -> Vec<u8> {
        let mut mutant = wasm.to_vec();
        for _ in 0..=self.below(3) {
            if mutant.len() < 10 {
                break;
            }
            let at = 8 + self.below(mutant.len() - 8);
            match self.below(8) {
                0 => mutant[at] ^= 1 << self.below(8),
                1 => mutant[at] = self.below(256) as u8,
                2 => mutant[at] = mutant[at].wrapping_add(1),
                3 => mutant[at] = mutant[at].wrapping_sub(1),
                4 => mutant[at] = mutant[8 + self.below(mutant.len() - 8)],
                5 => drop(mutant.remove(at)),
                6 => mutant.insert(at, self.below(256) as u8),
                _ => mutant.truncate(at.max(9)),
            }
        }
        mutant
    }
}
