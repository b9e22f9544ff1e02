//! The command, as far as it goes without servers to measure.

use std::process::Command;

#[test]
fn without_a_wharf_it_says_how_to_get_one() {
    let output = Command::new(env!("CARGO_BIN_EXE_wharf-bench")).args(["--wharf", "/nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("there is no `/nowhere`") && said.contains("cargo build --release"), "{said}");
}
