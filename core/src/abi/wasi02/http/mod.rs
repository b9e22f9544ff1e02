//! `wasi:http`: types, and sending requests.

mod code;

pub use self::code::ErrorCode;
