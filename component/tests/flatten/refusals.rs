//! Every kind of refusal, by its cause.

use wharf_component::{Feature, FlattenError, FlattenOptions, flatten};

use crate::run::{flattened, refused};

fn refuse_bytes(wasm: &[u8]) -> FlattenError {
    flatten(wasm, &FlattenOptions::default()).unwrap_err()
}

fn feature(text: &str) -> Feature {
    match refused(text, &FlattenOptions::default()) {
        FlattenError::Unsupported { feature, .. } => feature,
        other => panic!("{other}"),
    }
}

const SMALL: &str = "(component (core module $m (func (export \"f\"))) (core instance $i (instantiate $m)) \
                     (func (export \"f\") (canon lift (core func $i \"f\"))))";

#[test]
fn what_is_no_component() {
    for bytes in [b"".as_slice(), b"\x7fELF", b"\0as", b"(component)"] {
        assert!(matches!(refuse_bytes(bytes), FlattenError::NotAComponent { .. }), "{bytes:?}");
    }
    let module = refuse_bytes(&wat::parse_str("(module)").unwrap());
    assert!(module.to_string().contains("core module"), "{module}");
    let again = refuse_bytes(&flattened(SMALL).wasm);
    assert!(again.to_string().contains("flattened already"), "{again}");
}

#[test]
fn invalid_components_name_the_offset() {
    let wasm = wat::parse_str(SMALL).unwrap();
    for length in 8..wasm.len() {
        match flatten(&wasm[..length], &FlattenOptions::default()) {
            // A cut between two sections leaves a smaller component, which may well be valid.
            Ok(_) => {}
            Err(FlattenError::Invalid { offset, .. }) => assert!(offset <= wasm.len() as u64),
            Err(other) => panic!("cut at {length}: {other}"),
        }
    }
    let bad_body = "(component (core module (func (result i32) i64.const 0)))";
    let FlattenError::Invalid { message, .. } = refused(bad_body, &FlattenOptions::default()) else { panic!() };
    assert!(message.contains("type mismatch"), "{message}");
}

#[test]
fn features_are_named() {
    assert_eq!(feature("(component (type error-context))"), Feature::ErrorContext);
    assert_eq!(
        feature(
            "(component (core func $t (canon thread.index)) (core module $m (import \"\" \"t\" (func (result i32)))) \
             (core instance (instantiate $m (with \"\" (instance (export \"t\" (func $t)))))))"
        ),
        Feature::ComponentThreads
    );
    assert_eq!(
        feature(
            "(component (core module $m (func (export \"f\"))) (core instance $i (instantiate $m)) \
             (func (export \"f\") async (canon lift (core func $i \"f\") async)))"
        ),
        Feature::Stackful
    );
    assert_eq!(feature("(component (core module (type (struct))))"), Feature::Gc);
    assert_eq!(feature("(component (core module (tag)))"), Feature::Exceptions);
    assert_eq!(feature("(component (core module (memory i64 1)))"), Feature::Memory64);
    assert_eq!(feature("(component (core module (memory 1 1 shared)))"), Feature::Threads);
    assert_eq!(
        feature(
            "(component (core module (func (drop (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0))))))"
        ),
        Feature::Other
    );
}

#[test]
fn core_modules_that_cross_the_boundary_are_named() {
    let import = "(component (import \"m\" (core module $m)) (core instance (instantiate $m)))";
    let error = refused(import, &FlattenOptions::default());
    assert!(
        matches!(&error, FlattenError::Unsupported { feature: Feature::CoreModules, item } if item.contains("::m"))
    );
    assert_eq!(feature("(component (core module $m) (export \"m\" (core module $m)))"), Feature::CoreModules);
}

#[test]
fn components_that_are_passed_along_are_refused() {
    let text = "(component (component $x) (component $user (import \"c\" (component $c)) (instance (instantiate $c))) \
                (instance (instantiate $user (with \"c\" (component $x)))))";
    assert_eq!(feature(text), Feature::ComponentArguments);
    let text = "(component (import \"c\" (component $c)) (instance (instantiate $c)))";
    assert_eq!(feature(text), Feature::FirstClassComponents);
}

/// What is valid only in a draft of the component model is not valid, and not a matter of WebAssembly 2.0.
#[test]
fn types_of_later_releases_are_named_and_drafts_are_not_valid() {
    assert_eq!(feature("(component (type (list u8 4)))"), Feature::FixedLengthLists);
    assert_eq!(feature("(component (type (map string u8)))"), Feature::Maps);
    let draft = refused("(component (import \"v\" (value string)))", &FlattenOptions::default());
    assert!(matches!(draft, FlattenError::Invalid { .. }), "{draft}");
}

#[test]
fn limits_hold() {
    let limit = |text: &str, options: &FlattenOptions| match refused(text, options) {
        FlattenError::Limit { what, limit, found } => {
            assert!(found > limit);
            what
        }
        other => panic!("{other}"),
    };
    let options = FlattenOptions::default();
    assert_eq!(limit(SMALL, &FlattenOptions { max_component_bytes: 20, ..options.clone() }), "bytes");
    assert_eq!(limit(SMALL, &FlattenOptions { max_instances: 1, ..options.clone() }), "instances");
    assert_eq!(
        limit(SMALL, &FlattenOptions { max_module_bytes: 10, ..options.clone() }),
        "bytes of instantiated core modules"
    );
    let nested = format!("{}{}", "(component ".repeat(40), ")".repeat(40));
    assert_eq!(limit(&nested, &options), "levels of nested components");
}

/// Forty components that each instantiate the next one twice: a few kilobytes that mean a million million instances.
#[test]
fn a_component_bomb_is_counted_not_built() {
    let mut text = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    for level in 1..40 {
        let inner = level - 1;
        let alias = format!("(alias outer 1 $c{inner} (component $inner))");
        text.push_str(&format!(
            "(component $c{level} {alias} (instance (instantiate $inner)) (instance (instantiate $inner)))"
        ));
    }
    let error = refused(&format!("(component {text} (instance (instantiate $c39)))"), &FlattenOptions::default());
    assert!(matches!(error, FlattenError::Limit { what: "instances", .. }), "{error}");
}

#[test]
fn a_huge_type_section_is_refused_or_flattened() {
    let mut text = "(component (type $t0 (list u8))".to_owned();
    for level in 1..300 {
        text.push_str(&format!("(type $t{level} (tuple (list $t{0}) (list $t{0})))", level - 1));
    }
    text.push_str("(import \"f\" (func $f (param \"x\" $t299))))");
    let wasm = wat::parse_str(text).unwrap();
    match flatten(&wasm, &FlattenOptions::default()) {
        Ok(_) | Err(FlattenError::Invalid { .. } | FlattenError::Limit { .. }) => {}
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn an_import_that_is_exported_again_is_refused_by_name() {
    let error =
        refused("(component (import \"f\" (func $f)) (export \"again\" (func $f)))", &FlattenOptions::default());
    assert!(
        matches!(&error, FlattenError::Unsupported { feature: Feature::Other, item } if item.contains("`again`")),
        "{error}"
    );
}

/// Types nested in types, which a reader that recurses does not survive.
#[test]
fn nested_types_are_counted_before_they_are_read() {
    for levels in [40_u32, 100_000] {
        let mut body = vec![1_u8];
        (0..levels).for_each(|_| body.extend([0x42, 0x01, 0x01]));
        body.push(0x73);
        let mut wasm = b"\0asm\x0d\0\x01\0\x07".to_vec();
        let mut length = body.len();
        while length > 0x7f {
            wasm.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        wasm.push(length as u8);
        wasm.extend(body);
        let error = refuse_bytes(&wasm);
        assert!(matches!(error, FlattenError::Limit { what: "levels of nested types", .. }), "{error}");
    }
}

/// Names are the same to the component model regardless of case, but not to what generates adapters.
#[test]
fn types_that_differ_in_case_only_are_refused() {
    let error = refused(
        "(component (component (type $t' (record (field \"url\" u8))) (export $t \"t\" (type $t')) \
         (import \"f\" (func (param \"x\" $t)))) (type (record (field \"URL\" u8))))",
        &FlattenOptions::default(),
    );
    assert!(error.to_string().contains("differ only in case"), "{error}");
}

#[test]
fn too_many_memories_for_one_module() {
    let instances: String = (0..101).map(|_| "(core instance (instantiate $m))").collect();
    let error = refused(&format!("(component (core module $m (memory 1)) {instances})"), &FlattenOptions::default());
    assert_eq!(error, FlattenError::Limit { what: "memories", found: 101, limit: 100 });
}

/// Instances multiply what a module holds, though the file stays small.
#[test]
fn many_instances_of_a_large_module_are_counted_not_built() {
    let functions = "(func)".repeat(20_000);
    let instances = "(core instance (instantiate $m))".repeat(900);
    let text = format!("(component (core module $m {functions}) {instances})");
    let error = refused(&text, &FlattenOptions::default());
    assert!(matches!(error, FlattenError::Limit { what, .. } if what.starts_with("items")), "{error}");
}
