//! Links the facade's tests against the WasmEdge that the set-up found, and names the source that says how flattened
//! components are kept.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What shapes the entries of flattened components in the cache, beside what flattens them.
const KEEPING: &str = "src/flat.rs";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_WASMEDGE").is_some() {
        wharf_wasmedge_link::emit();
    }
    println!("cargo:rerun-if-changed={KEEPING}");
    let mut digest = DefaultHasher::new();
    fs::read(KEEPING).expect("the source is there").hash(&mut digest);
    println!("cargo:rustc-env=WHARF_FLAT_SOURCES={:016x}", digest.finish());
}
