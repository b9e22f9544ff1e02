#![allow(missing_docs, clippy::all)]
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use wharf_core::*;
use wharf_wasmedge::{Mode, WasmEdge};

type F = Box<dyn Fn(usize, &mut dyn Caller, &mut [u64]) -> Result<(), Stop> + Send + Sync>;
struct C(F);
impl Calls for C {
    fn call(&self, index: usize, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Stop> {
        (self.0)(index, caller, slots)
    }
}
fn backend(mode: Mode) -> &'static WasmEdge {
    static A: OnceLock<WasmEdge> = OnceLock::new();
    static I: OnceLock<WasmEdge> = OnceLock::new();
    match mode {
        Mode::Aot => A.get_or_init(|| WasmEdge::new(mode).unwrap()),
        _ => I.get_or_init(|| WasmEdge::new(mode).unwrap()),
    }
}
const MODES: [Mode; 2] = [Mode::Interpreter, Mode::Aot];
fn vt(c: char) -> ValType {
    match c {
        'i' => ValType::I32,
        'l' => ValType::I64,
        'f' => ValType::F32,
        'd' => ValType::F64,
        _ => panic!(),
    }
}
fn imports(list: &[(&str, &str, &str, &str)], f: F) -> Arc<Imports> {
    let v: Vec<Import> = list
        .iter()
        .map(|(m, n, p, r)| Import {
            module: m.to_string(),
            name: n.to_string(),
            ty: FuncType { params: p.chars().map(vt).collect(), results: r.chars().map(vt).collect() },
        })
        .collect();
    Arc::new(Imports::new(v.into(), C(f)))
}
fn none() -> Arc<Imports> {
    imports(&[], Box::new(|_, _, _| Ok(())))
}
fn inst(mode: Mode, wat: &str, im: Arc<Imports>) -> Box<dyn wharf_core::Instance> {
    backend(mode).compile(&wat::parse_str(wat).unwrap()).unwrap().instantiate(im).unwrap()
}
fn code(r: Result<(), Trap>) -> TrapCode {
    r.unwrap_err().code
}

#[test]
fn traps() {
    for mode in MODES {
        let mut i = inst(
            mode,
            r#"(module (memory (export "memory") 1 1) (table 4 funcref) (type $t (func)) (type $u (func (param i32)))
      (func $x) (elem (i32.const 0) $x)
      (elem $p func $x)
      (func (export "unreachable") unreachable)
      (func (export "load") (drop (i32.load (i32.const 65536))))
      (func (export "load2") (drop (i64.load offset=4294967295 (i32.const -1))))
      (func (export "store") (i32.store8 (i32.const -1) (i32.const 0)))
      (func (export "fill") (memory.fill (i32.const 65535) (i32.const 0) (i32.const 2)))
      (func (export "copy") (memory.copy (i32.const 0) (i32.const 65535) (i32.const 2)))
      (func (export "tget") (drop (table.get (i32.const 4))))
      (func (export "tinit") (table.init $p (i32.const 4) (i32.const 0) (i32.const 1)))
      (func (export "cioob") (call_indirect (type $t) (i32.const 4)))
      (func (export "cinull") (call_indirect (type $t) (i32.const 1)))
      (func (export "cisig") (call_indirect (type $u) (i32.const 1) (i32.const 0)))
      (func (export "div0") (drop (i32.div_s (i32.const 1) (i32.const 0))))
      (func (export "rem0") (drop (i64.rem_u (i64.const 1) (i64.const 0))))
      (func (export "ovf") (drop (i32.div_s (i32.const 0x80000000) (i32.const -1))))
      (func (export "conv") (drop (i32.trunc_f32_s (f32.const nan))))
      (func (export "convbig") (drop (i32.trunc_f64_s (f64.const 1e10))))
      (func (export "ok") (result i32) (i32.const 7)))"#,
            none(),
        );
        use TrapCode::*;
        for (n, c) in [
            ("unreachable", Unreachable),
            ("load", MemoryOutOfBounds),
            ("load2", MemoryOutOfBounds),
            ("store", MemoryOutOfBounds),
            ("fill", MemoryOutOfBounds),
            ("copy", MemoryOutOfBounds),
            ("tget", TableOutOfBounds),
            ("tinit", TableOutOfBounds),
            ("cioob", TableOutOfBounds),
            ("cinull", NullElement),
            ("cisig", BadSignature),
            ("div0", DivisionByZero),
            ("rem0", DivisionByZero),
            ("ovf", IntegerOverflow),
            ("conv", BadConversion),
            ("convbig", IntegerOverflow),
        ] {
            let t = i.call(n, &mut []).unwrap_err();
            println!("{mode:?} {n}: {:?} {}", t.code, t.message);
            if n == "convbig" {
                assert!(matches!(t.code, IntegerOverflow | BadConversion));
            } else {
                assert_eq!(t.code, c, "{mode:?} {n}");
            }
            let mut s = [0];
            i.call("ok", &mut s).unwrap();
            assert_eq!(s, [7]);
        }
    }
}

#[test]
fn values() {
    for mode in MODES {
        let im = imports(
            &[("e", "f", "ilfd", "dfli")],
            Box::new(|_, _, s| {
                s.reverse();
                Ok(())
            }),
        );
        let mut i = inst(
            mode,
            r#"(module (import "e" "f" (func $f (param i32 i64 f32 f64) (result f64 f32 i64 i32)))
      (export "direct" (func $f))
      (func (export "go") (param i32 i64 f32 f64) (result f64 f32 i64 i32) (call $f (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
      (func (export "many") (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i64 i64 i64)
         (if (i64.eqz (local.get 0)) (then (return (i64.const 9) (local.get 18) (local.get 19) )))
         (i64.add (local.get 0) (local.get 19)) (local.get 1) (local.get 18)))"#,
            im,
        );
        let s0 = [0xffff_fff0u64, u64::MAX - 3, 0x7fc0_1234, 0x7ff8_0000_0000_1234];
        for n in ["go", "direct"] {
            let mut s = s0;
            i.call(n, &mut s).unwrap();
            let mut e = s0;
            e.reverse();
            assert_eq!(s, e, "{mode:?} {n}");
        }
        let mut s: Vec<u64> = (1..=20).collect();
        i.call("many", &mut s).unwrap();
        assert_eq!(&s[..3], [21, 2, 19]);
        let mut s: Vec<u64> = (0..20).collect();
        i.call("many", &mut s).unwrap();
        assert_eq!(&s[..3], [9, 18, 19]);
        assert!(i.call("nothing", &mut []).is_err());
        assert!(i.call("go", &mut [0]).is_err());
        assert!(i.memory().is_none());
    }
}

#[test]
fn nesting() {
    for mode in MODES {
        let im = imports(
            &[("e", "out", "i", "i"), ("e", "in", "i", "")],
            Box::new(|n, c, s| {
                if n == 0 {
                    // calls realloc which calls the inner host function, which writes memory
                    let mut r = [s[0]];
                    c.call("realloc", &mut r).map_err(|t| Error::new(Kind::Guest, t.message))?;
                    let m = c.memory().unwrap();
                    assert_eq!(m[5], 42);
                    assert_eq!(m.len(), 3 * 65536);
                    s[0] = r[0] + 1;
                    assert_eq!(c.global("g"), Some(11));
                    assert!(c.set_global("g", 12));
                    assert!(!c.set_global("k", 1));
                    assert_eq!(c.global("k"), Some(0xffff_ffff_ffff_fff0));
                    assert_eq!(c.global("nope"), None);
                } else {
                    c.memory().unwrap()[s[0] as usize] = 42;
                }
                Ok(())
            }),
        );
        let mut i = inst(
            mode,
            r#"(module (import "e" "out" (func $o (param i32) (result i32))) (import "e" "in" (func $i (param i32)))
      (memory (export "memory") 1 10) (global (export "g") (mut i32) (i32.const 11)) (global (export "k") i64 (i64.const -16)) (global (export "f") (mut f64) (f64.const 1.5))
      (func (export "realloc") (param i32) (result i32) (drop (memory.grow (i32.const 2))) (call $i (i32.const 5)) (i32.add (local.get 0) (global.get 0)))
      (func (export "go") (param i32) (result i32) (i32.add (call $o (local.get 0)) (global.get 0))))"#,
            im,
        );
        let mut s = [100];
        i.call("go", &mut s).unwrap();
        assert_eq!(s, [100 + 11 + 1 + 12]);
        assert_eq!(i.global("f"), Some(1.5f64.to_bits()));
        assert!(i.set_global("f", 2.5f64.to_bits()));
        assert_eq!(i.global("f"), Some(2.5f64.to_bits()));
        // between threads
        let h = std::thread::spawn(move || {
            let s = [1];
            i.memory().unwrap()[7] = s[0];
            i.memory().unwrap().len()
        });
        assert_eq!(h.join().unwrap(), 3 * 65536);
    }
}

#[test]
fn halts() {
    for mode in MODES {
        let im = imports(
            &[("e", "a", "", ""), ("e", "b", "", "")],
            Box::new(|n, c, _| {
                if n == 0 {
                    return Err(Stop::Exit(7));
                }
                let t = c.call("inner", &mut []).unwrap_err();
                assert_eq!(t.code, TrapCode::Host);
                panic!("boom")
            }),
        );
        let keep = im.clone();
        let mut i = inst(
            mode,
            r#"(module (import "e" "a" (func $a)) (import "e" "b" (func $b)) (memory 1) (func (export "inner") (call $a)) (func (export "a") (call $a)) (func (export "b") (call $b)) (func (export "t") (result i32) (i32.load (i32.const -4))))"#,
            im,
        );
        assert_eq!(code(i.call("a", &mut [])), TrapCode::Host);
        assert!(matches!(keep.take_stop(), Some(Stop::Exit(7))));
        assert_eq!(code(i.call("b", &mut [])), TrapCode::Host);
        assert!(keep.take_stop().is_some());
        assert_eq!(code(i.call("t", &mut [0])), TrapCode::MemoryOutOfBounds);
    }
}

fn recursions() -> Vec<(&'static str, String)> {
    let locals = "i64 ".repeat(500);
    let many: String = (0..500).map(|n| format!("(local.set {} (i64.load (i32.const {})))", n + 1, n * 8)).collect();
    let sum: String = (0..500).map(|n| format!("(local.get {}) (i64.add)", n + 1)).collect();
    let stackful: String = (0..2000).map(|n| format!("(i64.load (i32.const {n}))")).collect();
    let adds = "(i64.add)".repeat(2000);
    let r1000 = "i64 ".repeat(1000);
    vec![
        ("plain", "(func $f (export \"f\") (call $f))".into()),
        ("args", "(func $f (export \"f\") (param i32) (result i32) (i32.add (i32.const 1) (call $f (i32.add (local.get 0) (i32.const 1)))))".into()),
        ("mutual", "(func $g (param i64) (call $f (i32.wrap_i64 (local.get 0)))) (func $f (export \"f\") (param i32) (call $g (i64.extend_i32_u (local.get 0))))".into()),
        ("indirect", "(table 1 funcref) (elem (i32.const 0) $f) (type $t (func)) (func $f (export \"f\") (call_indirect (type $t) (i32.const 0)))".into()),
        ("locals", format!("(memory 1) (func $f (export \"f\") (param i32) (result i64) (local {locals}) {many} (call $f (local.get 0)) {sum})")),
        ("operands", format!("(memory 1) (func $f (export \"f\") (result i64) {stackful} (call $f) {adds})")),
        ("results", format!("(func $r (result {r1000}) (call $f) unreachable) (func $f (export \"f\") (call $r) unreachable)")),
        ("if", "(func $f (export \"f\") (param i32) (if (i32.ne (local.get 0) (i32.const -1)) (then (call $f (i32.add (local.get 0) (i32.const 1))))))".into()),
        ("unreachable-at-bottom", "(func $f (export \"f\") (param i32) (call $f (local.get 0)) unreachable)".into()),
    ]
}
#[test]
fn stack_overflow() {
    for mode in MODES {
        for (n, body) in recursions() {
            let wat = format!("(module {body} (func (export \"ok\")) (func (export \"un\") unreachable))");
            let m = backend(mode).compile(&wat::parse_str(&wat).unwrap()).unwrap();
            for size in [2 << 20, 8 << 20, 256 << 10] {
                let m = m.clone();
                let t = std::thread::Builder::new()
                    .stack_size(size)
                    .spawn(move || {
                        let mut i = m.instantiate(none()).unwrap();
                        for _ in 0..3 {
                            let t0 = Instant::now();
                            let mut s = [0; 1];
                            assert_eq!(code(i.call("f", &mut s)), TrapCode::StackOverflow, "{mode:?}");
                            let _ = t0;
                            i.call("ok", &mut []).unwrap();
                            assert_eq!(code(i.call("un", &mut [])), TrapCode::Unreachable);
                        }
                    })
                    .unwrap();
                t.join().unwrap_or_else(|_| panic!("{mode:?} {n}"));
            }
            println!("{mode:?} {n} ok");
        }
    }
}
#[test]
fn depth() {
    for mode in MODES {
        // how deep can we go
        let mut i = inst(
            mode,
            r#"(module (global $g (export "g") (mut i32) (i32.const 0)) (func $f (export "f") (param i32 i32) (result i32) (global.set $g (i32.add (global.get $g) (i32.const 1))) (i32.add (call $f (i32.add (local.get 0) (local.get 1)) (local.get 0)) (i32.const 1))))"#,
            none(),
        );
        assert_eq!(code(i.call("f", &mut [1, 2])), TrapCode::StackOverflow);
        println!("{mode:?} depth {:?}", i.global("g"));
        assert!(i.global("g").unwrap() > 5000);
    }
}
#[test]
fn nested_recursion() {
    for mode in MODES {
        let im = imports(
            &[("e", "h", "", "")],
            Box::new(|_, c, _| match c.call("f", &mut []) {
                Ok(()) => Ok(()),
                Err(t) => {
                    assert_eq!(t.code, TrapCode::StackOverflow);
                    Ok(())
                }
            }),
        );
        let mut i = inst(
            mode,
            r#"(module (import "e" "h" (func $h)) (global $g (export "g") (mut i32) (i32.const 0)) (func (export "f") (global.set $g (i32.add (global.get $g) (i32.const 1))) (call $h) ) (func $r (export "deep") (param i32) (if (i32.eqz (local.get 0)) (then (call $h)) (else (call $r (i32.sub (local.get 0) (i32.const 1)))))))"#,
            im,
        );
        i.call("f", &mut []).unwrap();
        println!("{:?}", i.global("g"));
        i.call("deep", &mut [3000]).unwrap();
    }
}

#[test]
fn interrupts() {
    for mode in MODES {
        let bulk = "(memory.fill (i32.const 0) (i32.const 1) (i32.const 16777216))".repeat(20000);
        let wat = format!(
            r#"(module (import "e" "h" (func $h)) (memory 256 256) (func (export "loop") (loop (br 0)))
     (func $fib (export "fib") (param i32) (result i32) (if (result i32) (i32.lt_u (local.get 0) (i32.const 2)) (then (local.get 0)) (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
     (func (export "fib2") (result i32) (call $fib (i32.const 100)))
     (func (export "bulk") {bulk})
     (func (export "fills") (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 16777216)) (br 0)))
     (func (export "hosts") (loop (call $h) (br 0)))
     (func (export "onehost") (result i32) (call $h) (i32.const 1))
     (func (export "brtable") (local i32) (loop $l (block $a (block $b (br_table $a $b $l (local.get 0)))) (br $l)))
     (func (export "ok")))"#
        );
        let m = backend(mode).compile(&wat::parse_str(&wat).unwrap()).unwrap();
        for n in ["loop", "fib2", "bulk", "fills", "hosts", "brtable"] {
            let mut i = m.instantiate(imports(&[("e", "h", "", "")], Box::new(|_, _, _| Ok(())))).unwrap();
            let h = i.interrupt();
            let at = Arc::new(Mutex::new(None));
            let at2 = at.clone();
            let t = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(100));
                *at2.lock().unwrap() = Some(Instant::now());
                h.interrupt();
            });
            let mut s = [0];
            assert_eq!(code(i.call(n, &mut s)), TrapCode::Interrupted, "{mode:?} {n}");
            println!("{mode:?} {n} latency {:?}", at.lock().unwrap().unwrap().elapsed());
            t.join().unwrap();
            assert_eq!(code(i.call("ok", &mut [])), TrapCode::Interrupted);
        }
        let mut i = m.instantiate(imports(&[("e", "h", "", "")], Box::new(|_, _, _| Ok(())))).unwrap();
        i.interrupt().interrupt();
        assert_eq!(code(i.call("ok", &mut [])), TrapCode::Interrupted);
        let h: Arc<OnceLock<Arc<dyn Interrupt>>> = Arc::default();
        let h2 = h.clone();
        let mut i = m
            .instantiate(imports(
                &[("e", "h", "", "")],
                Box::new(move |_, _, _| {
                    h2.get().unwrap().interrupt();
                    Ok(())
                }),
            ))
            .unwrap();
        let _ = h.set(i.interrupt());
        assert_eq!(code(i.call("onehost", &mut [0])), TrapCode::Interrupted);
        drop(i);
        h.get().unwrap().interrupt();
    }
}

#[test]
fn binding() {
    for mode in MODES {
        let im = imports(
            &[("e", "x", "i", "i"), ("e", "x", "i", "i"), ("e", "x", "l", "l"), ("", "", "", "i")],
            Box::new(|n, _, s| {
                s[0] = s[0] * 10 + n as u64;
                Ok(())
            }),
        );
        let mut i = inst(
            mode,
            r#"(module (import "e" "x" (func $a (param i32) (result i32))) (import "e" "x" (func $b (param i32) (result i32))) (import "e" "x" (func $c (param i64) (result i64))) (import "" "" (func $d (result i32)))
      (type $t (func (param i32) (result i32))) (table 2 funcref) (elem (i32.const 0) $a $b) (elem declare func $b)
      (func (export "go") (param i32) (result i32 i32 i64 i32) (call $a (local.get 0)) (call $b (local.get 0)) (call $c (i64.const 9)) (call $d))
      (func (export "ci") (param i32) (result i32) (call_indirect (type $t) (i32.const 5) (local.get 0)))
      (func (export "rf") (result i32) (table.set (i32.const 1) (ref.func $b)) (call_indirect (type $t) (i32.const 6) (i32.const 1)))
      (func (export "loop") (param i32) (loop (drop (call_indirect (type $t) (i32.const 5) (i32.const 0))) (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
     )"#,
            im,
        );
        let mut s = [4, 0, 0, 0];
        i.call("go", &mut s).unwrap();
        assert_eq!(s, [40, 41, 92, 3]);
        let mut s = [0];
        i.call("ci", &mut s).unwrap();
        assert_eq!(s, [50]);
        let mut s = [1];
        i.call("ci", &mut s).unwrap();
        assert_eq!(s, [51]);
        let mut s = [0];
        i.call("rf", &mut s).unwrap();
        assert_eq!(s, [61]);
        let t = Instant::now();
        i.call("loop", &mut [1_000_000]).unwrap();
        println!("{mode:?} 1M indirect host calls {:?}", t.elapsed());
    }
}

#[test]
fn segments() {
    for mode in MODES {
        for w in [
            r#"(module (memory 1) (data (i32.const 65536) "x"))"#,
            r#"(module (table 1 funcref) (func $f) (elem (i32.const 1) $f))"#,
        ] {
            let e = backend(mode).compile(&wat::parse_str(w).unwrap()).unwrap().instantiate(none()).err().unwrap();
            println!("{e}");
            assert_eq!(e.kind(), Kind::Trap);
        }
        let e = backend(mode).compile(b"\0asm\x01\0\0\0\xff").err().unwrap();
        println!("{e:?}");
        assert_eq!(
            backend(mode)
                .compile(&wat::parse_str(r#"(module (func (export "$wharf.stack")))"#).unwrap())
                .err()
                .unwrap()
                .kind(),
            Kind::Unsupported
        );
        inst(mode, "(module)", none());
        let mut i = inst(
            mode,
            r#"(module (memory $a (export "memory") 1) (memory $b 1) (data $d "hey") (func (export "f") (result i32) (memory.init $b $d (i32.const 3) (i32.const 0) (i32.const 3)) (memory.copy $a $b (i32.const 1) (i32.const 3) (i32.const 3)) (i32.load8_u $a (i32.const 2))))"#,
            none(),
        );
        let mut s = [0];
        i.call("f", &mut s).unwrap();
        assert_eq!(s, [b'e' as u64]);
        assert_eq!(&i.memory().unwrap()[1..4], b"hey");
        let mut i = inst(
            mode,
            r#"(module (memory (export "memory") 0 5) (func (export "g") (result i32) (memory.grow (i32.const 1))))"#,
            none(),
        );
        assert_eq!(i.memory().unwrap().len(), 0);
        let mut s = [9];
        i.call("g", &mut s).unwrap();
        assert_eq!(s, [0]);
        assert_eq!(i.memory().unwrap().len(), 65536);
    }
}

#[test]
fn features() {
    for mode in MODES {
        let mut i = inst(mode, r#"(module (memory (export "memory") 1) (table $t 1 externref)
      (func $mv (param i32) (result i32 i32) (if (result i32 i32) (local.get 0) (then (i32.const 1) (i32.const 2)) (else (i32.const 3) (return (i32.const 5) ))) )
      (func (export "simd") (result i32) (i32x4.extract_lane 2 (i32x4.add (v128.const i32x4 1 2 3 4) (i8x16.swizzle (v128.const i32x4 1 2 3 4) (v128.const i8x16 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)))))
      (func (export "sat") (result i32) (i32.trunc_sat_f32_s (f32.const 1e20)))
      (func (export "ext") (result i32) (i32.extend8_s (i32.const 0x80)))
      (func (export "tg") (result i32) (table.grow $t (ref.null extern) (i32.const 3)))
      (func (export "v") (param i32) (result i32) (local v128) (block $b (result i32) (loop $l (result i32) (local.set 1 (i32x4.splat (local.get 0))) (br_if $l (i32.eqz (local.tee 0 (i32.add (local.get 0) (i32.const 1))))) (br $b (i32x4.extract_lane 0 (local.get 1))))))
      (func (export "mv") (param i32) (result i32) (call $mv (local.get 0)) i32.add))"#.replace("(return (i32.const 5) )", "(i32.const 4)").as_str(), none());
        for (n, a, e) in [
            ("simd", 0, 6u32),
            ("sat", 0, i32::MAX as u32),
            ("ext", 0, -128i32 as u32),
            ("tg", 0, 1),
            ("v", 41, 41),
            ("mv", 1, 3),
            ("mv", 0, 7),
        ] {
            let mut s = [a];
            i.call(n, &mut s).unwrap();
            assert_eq!(s, [e as u64], "{mode:?} {n}");
        }
    }
}

#[test]
fn serialized() {
    let wasm = wat::parse_str(r#"(module (func (export "f") (result i32) (i32.const 3)))"#).unwrap();
    let m = backend(Mode::Aot).compile(&wasm).unwrap();
    let c = m.serialize().unwrap().unwrap();
    let l = backend(Mode::Aot).load(&wasm, &c).unwrap();
    assert_eq!(l.serialize().unwrap().unwrap(), c);
    let mut s = [0];
    l.instantiate(none()).unwrap().call("f", &mut s).unwrap();
    assert_eq!(s, [3]);
    assert!(backend(Mode::Interpreter).load(&wasm, &c).is_err());
    assert!(backend(Mode::Interpreter).compile(&wasm).unwrap().serialize().unwrap().is_none());
    // plain wasm is not code; cut code neither
    for bad in [
        wasm.clone(),
        c[..c.len() - 10].to_vec(),
        {
            let mut d = c.clone();
            let n = d.len();
            d[n - 1000] ^= 1;
            d
        },
        vec![],
    ] {
        match backend(Mode::Aot).load(&wasm, &bad) {
            Err(e) => println!("{e}"),
            Ok(_) => println!("LOADED {}", bad.len()),
        }
    }
    println!("{:?} {:?}", backend(Mode::Aot).info(), backend(Mode::Interpreter).info());
}

#[test]
fn huge() {
    for mode in MODES {
        let deep = format!(
            "(module (func (export \"f\") (result i32) {} (i32.const 1) {}))",
            "(block (result i32)".repeat(20_000),
            ")".repeat(20_000)
        );
        // wat recursion: build by hand
        let _ = deep;
        let mut body = vec![0u8];
        for _ in 0..20_000 {
            body.extend([0x02, 0x40]);
        }
        for _ in 0..20_000 {
            body.push(0x0b);
        }
        body.push(0x0b);
        let w = module_with(body);
        let t = Instant::now();
        let m = backend(mode).compile(&w).unwrap();
        m.instantiate(none()).unwrap().call("f", &mut []).unwrap();
        println!("{mode:?} deep {:?}", t.elapsed());
        // too large for native: falls back
        let mut body = vec![0u8, 0x10, 0];
        for _ in 0..150_000 {
            body.extend([0x41, 0, 0x1a]);
        }
        body.push(0x0b);
        let w = module_with(body);
        let t = Instant::now();
        let m = backend(mode).compile(&w).unwrap();
        assert!(m.serialize().unwrap().is_none());
        assert_eq!(code(m.instantiate(none()).unwrap().call("f", &mut [])), TrapCode::StackOverflow);
        println!("{mode:?} huge {:?}", t.elapsed());
    }
}
fn leb(mut n: usize) -> Vec<u8> {
    let mut v = vec![];
    loop {
        let b = (n & 127) as u8;
        n >>= 7;
        if n == 0 {
            v.push(b);
            return v;
        }
        v.push(b | 128);
    }
}
fn module_with(body: Vec<u8>) -> Vec<u8> {
    let mut w = b"\0asm\x01\0\0\0".to_vec();
    let mut sec = |id: u8, c: Vec<u8>| {
        w.push(id);
        w.extend(leb(c.len()));
        w.extend(c);
    };
    sec(1, vec![1, 0x60, 0, 0]);
    sec(3, vec![1, 0]);
    sec(7, vec![1, 1, b'f', 0, 0]);
    let mut c = vec![1];
    c.extend(leb(body.len()));
    c.extend(body);
    sec(10, c);
    w
}

#[test]
fn threads() {
    for mode in MODES {
        let m = backend(mode).compile(&wat::parse_str(r#"(module (memory (export "memory") 1) (func $f (param i32) (call $f (local.get 0))) (func (export "go") (param i32) (result i32) (if (i32.eq (local.get 0) (i32.const 0)) (then (return (i32.load (i32.const -1))))) (if (i32.eq (local.get 0) (i32.const 1)) (then (call $f (i32.const 1)))) (i32.const 5)))"#).unwrap()).unwrap();
        let ts: Vec<_> = (0..8)
            .map(|_| {
                let m = m.clone();
                std::thread::spawn(move || {
                    for n in 0..200u64 {
                        let mut i = m.instantiate(none()).unwrap();
                        let mut s = [n % 3];
                        let r = i.call("go", &mut s);
                        match n % 3 {
                            0 => assert_eq!(code(r), TrapCode::MemoryOutOfBounds),
                            1 => assert_eq!(code(r), TrapCode::StackOverflow),
                            _ => assert_eq!(s, [5]),
                        }
                    }
                })
            })
            .collect();
        for t in ts {
            t.join().unwrap();
        }
    }
}

#[test]
#[ignore]
fn bench() {
    for mode in MODES {
        let b = backend(mode);
        let big = std::fs::read("/tmp/we-ws/fetch.wasm").unwrap();
        let t = Instant::now();
        let m = b.compile(&big).unwrap();
        let tc = t.elapsed();
        let tl = m.serialize().unwrap().map(|c| {
            let t = Instant::now();
            b.load(&big, &c).unwrap();
            (t.elapsed(), c.len())
        });
        let list = wharf_imports(&big);
        let t = Instant::now();
        for _ in 0..50 {
            drop(m.instantiate(imports2(&list)).unwrap());
        }
        println!("{mode:?} fetch: compile {tc:?} load {tl:?} inst {:?}", t.elapsed() / 50);
        let wat = r#"(module (import "h" "0" (func $h0)) (import "h" "1" (func $h1 (param i32 i32) (result i32))) (memory (export "memory") 2 100)
   (func (export "nop"))
   (func (export "hosts") (param i32) (loop (call $h0) (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
   (func (export "hosts2") (param i32) (loop (drop (call $h1 (local.get 0) (local.get 0))) (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
   (func (export "loop") (param i32) (result i32) (local i32) (loop (local.set 1 (i32.add (local.get 1) (i32.xor (local.get 0) (i32.const 7)))) (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (local.get 1))
   (func $fib (export "fib") (param i32) (result i32) (if (result i32) (i32.lt_u (local.get 0) (i32.const 2)) (then (local.get 0)) (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
   (func (export "sieve") (param i32) (result i32) (local i32 i32 i32)
     (local.set 1 (i32.const 2))
     (block $done (loop $o (br_if $done (i32.ge_u (local.get 1) (local.get 0)))
        (if (i32.eqz (i32.load8_u (local.get 1))) (then (local.set 3 (i32.add (local.get 3) (i32.const 1))) (local.set 2 (i32.shl (local.get 1) (i32.const 1)))
           (block $e (loop $i (br_if $e (i32.ge_u (local.get 2) (local.get 0))) (i32.store8 (local.get 2) (i32.const 1)) (local.set 2 (i32.add (local.get 2) (local.get 1))) (br $i)))))
        (local.set 1 (i32.add (local.get 1) (i32.const 1))) (br $o))) (local.get 3))
  )"#;
        let mut i = inst(mode, wat, imports(&[("h", "0", "", ""), ("h", "1", "ii", "i")], Box::new(|_, _, _| Ok(()))));
        let mut go = |n: &str, a: u64, k: u32| {
            let mut best = Duration::MAX;
            for _ in 0..3 {
                let t = Instant::now();
                for _ in 0..k {
                    let mut s = [a];
                    i.call(n, &mut s).unwrap();
                }
                best = best.min(t.elapsed() / k);
            }
            println!("  {n} {best:?}");
        };
        go("nop", 0, 10000);
        go("hosts", 100_000, 1);
        go("hosts2", 100_000, 1);
        go("loop", 20_000_000, 1);
        go("fib", 27, 1);
        go("sieve", 100_000, 1);
        println!("  oob {:?}", {
            let mut i =
                inst(mode, "(module (memory 1) (func (export \"o\") (drop (i32.load (i32.const -1)))))", none());
            let t = Instant::now();
            for _ in 0..1000 {
                let _ = i.call("o", &mut []);
            }
            t.elapsed() / 1000
        });
    }
}
fn wharf_imports(wasm: &[u8]) -> Vec<Import> {
    Prepared::new(wasm, &LoadOptions::default()).unwrap().imports().to_vec()
}
fn imports2(v: &[Import]) -> Arc<Imports> {
    Arc::new(Imports::new(v.to_vec().into(), C(Box::new(|_, _, _| Ok(())))))
}
