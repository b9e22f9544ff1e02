//! Lets this package's tests and examples find WasmEdge.

fn main() {
    wharf_wasmedge_link::emit();
}
