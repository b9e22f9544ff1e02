//! Every case, by area. A new area is a module with a `CASES` slice and a line in [`cases`].

pub mod backend;
pub mod experimental;
pub mod guest;
pub mod linker;
pub mod needs;
pub mod outbound;
pub mod preview1;
pub mod serving;
pub mod sockets;
pub mod suite;
pub mod wasi03;
pub mod wasihttp;

use crate::case::Case;

/// The areas, each a slice of slices.
const AREAS: [&[&[Case]]; 11] = [
    backend::CASES,
    guest::CASES,
    experimental::CASES,
    preview1::CASES,
    sockets::CASES,
    outbound::CASES,
    wasihttp::CASES,
    wasi03::CASES,
    serving::CASES,
    linker::CASES,
    suite::CASES,
];

/// Every case, in the order of their areas.
pub fn cases() -> Vec<&'static Case> {
    AREAS.into_iter().flat_map(|areas| areas.iter()).flat_map(|cases| cases.iter()).collect()
}

// A guest of `guests/` that no case runs does not compile.
const _: () = {
    let mut index = 0;
    while index < wharf_guests::ALL.len() {
        let name = wharf_guests::ALL[index].name;
        if !is_run(name) {
            panic!("{}", name);
        }
        index += 1;
    }
};

/// Whether a case runs the guest of this name. Constants can have neither `for` loops nor comparisons of strings.
const fn is_run(name: &str) -> bool {
    let mut area = 0;
    while area < AREAS.len() {
        let mut file = 0;
        while file < AREAS[area].len() {
            let cases = AREAS[area][file];
            let mut case = 0;
            while case < cases.len() {
                let mut guest = 0;
                while guest < cases[case].guests.len() {
                    if same(cases[case].guests[guest].name, name) {
                        return true;
                    }
                    guest += 1;
                }
                case += 1;
            }
            file += 1;
        }
        area += 1;
    }
    false
}

const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut index = 0;
    while index < one.len() && index < other.len() && one[index] == other[index] {
        index += 1;
    }
    index == one.len() && index == other.len()
}
