//! Links the facade's tests against the WasmEdge that the set-up found.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_WASMEDGE").is_some() {
        wharf_wasmedge_link::emit();
    }
}
