//! Room for the values of one call.

/// How many values are kept on the stack; longer signatures are rare and use the heap.
const INLINE: usize = 16;

/// Calls `run` with a buffer of `len` times `fill`, without an allocation for signatures of usual length.
pub fn with_buffer<T: Copy, R>(len: usize, fill: T, run: impl FnOnce(&mut [T]) -> R) -> R {
    match [fill; INLINE].get_mut(..len) {
        Some(buffer) => run(buffer),
        None => run(&mut vec![fill; len]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_as_long_as_asked_for() {
        for len in [0, 1, INLINE, INLINE + 1, 1000] {
            with_buffer(len, 7u64, |buffer| assert_eq!(buffer, vec![7; len]));
        }
    }
}
