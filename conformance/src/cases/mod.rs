//! Every case, by area. A new area is a module with a `CASES` slice and a line in [`cases`].

pub mod experimental;
pub mod guest;
pub mod needs;
pub mod outbound;
pub mod preview1;
pub mod seam;
pub mod sockets;
pub mod suite;
pub mod wasihttp;

use crate::case::Case;

/// Every case, in the order of their areas.
pub fn cases() -> Vec<&'static Case> {
    let areas = [
        seam::CASES,
        guest::CASES,
        experimental::CASES,
        preview1::CASES,
        sockets::CASES,
        outbound::CASES,
        wasihttp::CASES,
        suite::CASES,
    ];
    areas.into_iter().flat_map(|areas| areas.iter()).flat_map(|cases| cases.iter()).collect()
}
