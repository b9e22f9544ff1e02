//! The interfaces that a component names itself, read without looking further into it.

use wasmparser::{Parser, Payload};

/// The first interface of WASI 0.3 that a component imports or exports, with its version. `None` if it has none, or if
/// the bytes cannot be read: loading them then says why.
pub fn wasi03(component: &[u8]) -> Option<String> {
    // Modules and components within are read as well; their names are their own.
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        let found = match payload.ok()? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                depth += 1;
                None
            }
            Payload::End(_) => {
                depth = depth.saturating_sub(1);
                None
            }
            Payload::ComponentImportSection(section) if depth == 0 => {
                section.into_iter().filter_map(Result::ok).map(|import| import.name.name).find(|name| is_wasi03(name))
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                section.into_iter().filter_map(Result::ok).map(|export| export.name.name).find(|name| is_wasi03(name))
            }
            _ => None,
        };
        if let Some(name) = found {
            return Some(name.to_owned());
        }
    }
    None
}

fn is_wasi03(name: &str) -> bool {
    name.starts_with("wasi:") && name.split_once('@').is_some_and(|(_, version)| version.starts_with("0.3."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &str) -> Option<String> {
        wasi03(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn the_outermost_names_count() {
        let import = r#"(import "wasi:clocks/types@0.3.0" (instance))"#;
        assert_eq!(first(&format!("(component {import})")).as_deref(), Some("wasi:clocks/types@0.3.0"));
        assert_eq!(first(&format!("(component (core module) {import})")).as_deref(), Some("wasi:clocks/types@0.3.0"));
        assert_eq!(first(&format!("(component (component {import}))")), None);
        let export = r#"(instance $i) (export "wasi:http/handler@0.3.1" (instance $i))"#;
        assert_eq!(first(&format!("(component {export})")).as_deref(), Some("wasi:http/handler@0.3.1"));
    }

    #[test]
    fn others_do_not() {
        for name in ["wasi:clocks/types@0.2.3", "wasi:clocks/types@0.30.0", "other:clocks/types@0.3.0"] {
            assert_eq!(first(&format!(r#"(component (import "{name}" (instance)))"#)), None, "{name}");
        }
        assert_eq!(wasi03(b"\0asm\x0d\0\x01\0\xff"), None);
        assert_eq!(wasi03(b""), None);
    }
}
