//! Lets this package's tests find WasmEdge.

fn main() {
    wharf_wasmedge_link::emit();
}
