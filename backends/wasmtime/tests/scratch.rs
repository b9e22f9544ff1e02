#![allow(missing_docs, clippy::all)]
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use wharf_core::*;
use wharf_wasmtime::Wasmtime;

struct F<T>(T);
impl<T: Fn(usize, &mut dyn Caller, &mut [u64]) -> Result<(), Stop> + Send + Sync> Calls for F<T> {
    fn call(&self, i: usize, c: &mut dyn Caller, s: &mut [u64]) -> Result<(), Stop> {
        (self.0)(i, c, s)
    }
}
fn imp(params: &[ValType], results: &[ValType]) -> Import {
    Import { module: "m".into(), name: "f".into(), ty: FuncType { params: params.to_vec(), results: results.to_vec() } }
}
fn inst(
    b: &dyn Backend,
    wat: &str,
    types: Vec<Import>,
    f: impl Fn(usize, &mut dyn Caller, &mut [u64]) -> Result<(), Stop> + Send + Sync + 'static,
) -> (Result<Box<dyn Instance>>, Arc<Imports>) {
    let m = b.compile(&wat::parse_str(wat).unwrap()).unwrap();
    let imports = Arc::new(Imports::new(types.into(), F(f)));
    (m.instantiate(imports.clone()), imports)
}
fn plain(b: &dyn Backend, wat: &str) -> Box<dyn Instance> {
    inst(b, wat, vec![], |_, _, _| Ok(())).0.unwrap()
}
fn run(b: &dyn Backend, body: &str) -> TrapCode {
    let mut i = plain(b, &format!(r#"(module (memory (export "memory") 1) (table 2 funcref) (type $v (func)) (type $w (func (param i32)))
      (func $n (param i32)) (elem (i32.const 0) $n)
      (func $f (export "f") {body}))"#));
    let t = i.call("f", &mut []).unwrap_err();
    println!("{t:?}");
    t.code
}

#[test]
fn info() {
    let b = Wasmtime::new().unwrap();
    println!("{:?}", b.info());
    assert_eq!(b.info().code_key, Wasmtime::new().unwrap().info().code_key);
}

#[test]
fn traps() {
    let b = Wasmtime::new().unwrap();
    use TrapCode::*;
    for (body, code) in [
        ("unreachable", Unreachable),
        ("i32.const -1 i32.load drop", MemoryOutOfBounds),
        ("i32.const -1 i32.const 0 i32.const 4 memory.fill", MemoryOutOfBounds),
        ("i32.const 65536 i32.const 0 i32.const 1 memory.fill", MemoryOutOfBounds),
        ("i32.const 7 table.get 0 drop", TableOutOfBounds),
        ("i32.const 7 call_indirect (type $v)", TableOutOfBounds),
        ("i32.const 1 call_indirect (type $v)", NullElement),
        ("i32.const 0 call_indirect (type $v)", BadSignature),
        ("i32.const 1 i32.const 0 i32.div_s drop", DivisionByZero),
        ("i32.const 1 i32.const 0 i32.rem_u drop", DivisionByZero),
        ("i32.const 0x80000000 i32.const -1 i32.div_s drop", IntegerOverflow),
        ("f32.const nan i32.trunc_f32_s drop", BadConversion),
        ("f32.const 1e30 i32.trunc_f32_s drop", IntegerOverflow),
        ("call $f", StackOverflow),
    ] {
        assert_eq!(run(&b, body), code, "{body}");
    }
    thread::Builder::new().stack_size(2 << 20).spawn(|| {
        assert_eq!(run(&Wasmtime::new().unwrap(), "call $f"), StackOverflow);
    }).unwrap().join().unwrap();
}

#[test]
fn overflow_through_host() {
    thread::Builder::new().stack_size(2 << 20).spawn(|| {
        let b = Wasmtime::new().unwrap();
        let (i, imports) = inst(&b, r#"(module (import "m" "f" (func $h)) (func (export "g") (call $h)))"#, vec![imp(&[], &[])],
            |_, c, _| c.call("g", &mut []).map_err(|t| Stop::Error(Error::new(Kind::Trap, format!("{t:?}")))));
        let t = i.unwrap().call("g", &mut []).unwrap_err();
        assert_eq!(t.code, TrapCode::Host);
        let Some(Stop::Error(e)) = imports.take_stop() else { panic!() };
        println!("{}", e);
        assert!(e.to_string().contains("StackOverflow"));
    }).unwrap().join().unwrap();
}

#[test]
fn values_and_features() {
    use ValType::*;
    let b = Wasmtime::new().unwrap();
    let ps: Vec<ValType> = (0..24).map(|i| [I64, I32, F32, F64][i % 4]).collect();
    let names = |v: &[ValType]| v.iter().map(|t| format!("{t:?}").to_lowercase()).collect::<Vec<_>>().join(" ");
    let rs: Vec<ValType> = (0..24).map(|i| [I32, F32, I64, F64][i % 4]).collect();
    let get: String = (0..24).map(|i| format!("local.get {i} ")).collect();
    let wat = format!(r#"(module (import "m" "f" (func $h (param {p}) (result {r})))
       (memory (export "memory") 1) (memory (export "other") 1) (table 3 externref)
       (global (export "a") (mut i32) (i32.const -1)) (global (export "b") f64 (f64.const 1.5)) (global (export "x") (mut externref) (ref.null extern))
       (func (export "ext") (result externref) i32.const 0 table.get 0)
       (func (export "null") (result i32) i32.const 0 ref.null extern table.set 0 i32.const 1 table.get 0 ref.is_null)
       (func (export "narrow") (param i64) (result i32) local.get 0 i32.wrap_i64)
       (func (export "simd") (result i32) (i8x16.extract_lane_u 3 (i8x16.splat (i32.const 77))))
       (func (export "big") (param {p}) (result {r}) {get} call $h))"#, p = names(&ps), r = names(&rs));
    let (i, _) = inst(&b, &wat, vec![imp(&ps, &rs)], |_, _, s| { for s in s { *s = !*s; } Ok(()) });
    let mut i = i.unwrap();
    let mut s = vec![0x1122_3344_5566_7788u64; 24];
    i.call("big", &mut s).unwrap();
    for (k, s) in s.iter().enumerate() {
        let inp = |w| if w { 0x1122_3344_5566_7788u64 } else { 0x5566_7788 };
        let v = !inp(k % 4 == 0 || k % 4 == 3);
        let want = if k % 4 < 2 { v & 0xffff_ffff } else { v };
        assert_eq!(*s, want, "{k}");
    }
    let mut s = [u64::MAX];
    i.call("narrow", &mut s).unwrap();
    assert_eq!(s[0], 0xffff_ffff);
    i.call("null", &mut s).unwrap();
    assert_eq!(s[0], 1);
    i.call("simd", &mut s).unwrap();
    assert_eq!(s[0], 77);
    assert_eq!(i.call("ext", &mut s).unwrap_err().code, TrapCode::Other);
    assert_eq!(i.call("nope", &mut s).unwrap_err().code, TrapCode::Other);
    assert_eq!(i.call("narrow", &mut []).unwrap_err().code, TrapCode::Other);
    assert_eq!(i.global("a"), Some(0xffff_ffff));
    assert!(i.set_global("a", u64::MAX << 4));
    assert_eq!(i.global("a"), Some(0xffff_fff0));
    assert_eq!(i.global("b"), Some(1.5f64.to_bits()));
    assert!(!i.set_global("b", 1));
    assert_eq!(i.global("x"), None);
    assert!(!i.set_global("x", 1));
    assert_eq!(i.global("memory"), None);
    assert_eq!(i.memory().unwrap().len(), 65536);
    assert!(plain(&b, "(module)").memory().is_none());
}

#[test]
fn reentrancy() {
    let b = Wasmtime::new().unwrap();
    let (i, _) = inst(&b, r#"(module (import "m" "f" (func $h (param i32) (result i32))) (import "m" "f" (func $i (param i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "realloc") (param i32) (result i32) (drop (memory.grow (i32.const 1))) (call $i (local.get 0)))
      (func (export "run") (param i32) (result i32) (call $h (local.get 0)) (i32.add (i32.load (i32.const 65536)))))"#,
        vec![imp(&[ValType::I32], &[ValType::I32]); 2], |i, c, s| {
            if i == 0 {
                assert_eq!(c.memory().unwrap().len(), 65536);
                let mut t = [s[0] + 1];
                c.call("realloc", &mut t).unwrap();
                s[0] = t[0] * 2;
                c.memory().unwrap()[65536] = 5;
                assert!(!c.set_global("zz", 1));
            } else { assert_eq!(c.memory().unwrap().len(), 131072); s[0] += 10; }
            Ok(())
        });
    let mut s = [1];
    let mut i = i.unwrap();
    i.call("run", &mut s).unwrap();
    assert_eq!(s[0], 29);
    let h = thread::spawn(move || { let mut s = [1]; let _ = i.call("realloc", &mut s); });
    h.join().unwrap();
}

#[test]
fn halts() {
    let b = Wasmtime::new().unwrap();
    for panic in [false, true] {
        let (i, imports) = inst(&b, r#"(module (import "m" "f" (func $h)) (export "h" (func $h)) (func (export "g") (call $h) unreachable))"#, vec![imp(&[], &[])],
            move |_, _, _| if panic { panic!("boo") } else { Err(Stop::Exit(3)) });
        let mut i = i.unwrap();
        for e in ["g", "h"] {
            let t = i.call(e, &mut []).unwrap_err();
            assert_eq!(t.code, TrapCode::Host, "{t:?}");
            println!("{:?}", imports.take_stop().unwrap());
        }
    }
}

#[test]
fn instantiate_errors() {
    let b = Wasmtime::new().unwrap();
    let e = |w: &str, t| inst(&b, w, t, |_, _, _| Ok(())).0.err().unwrap();
    let x = e(r#"(module (memory 1) (data (i32.const 65536) "a"))"#, vec![]);
    assert_eq!(x.kind(), Kind::Trap); println!("{x:?}");
    let x = e(r#"(module (table 1 funcref) (func $f) (elem (i32.const 1) $f))"#, vec![]);
    assert_eq!(x.kind(), Kind::Trap);
    let x = e(r#"(module (import "m" "f" (func)))"#, vec![]);
    assert_eq!(x.kind(), Kind::Internal);
    let x = e(r#"(module (import "m" "f" (func)))"#, vec![imp(&[ValType::I32], &[])]);
    assert_eq!(x.kind(), Kind::Internal);
    let x = b.compile(&wat::parse_str(r#"(module (import "m" "f" (func (param externref))))"#).unwrap()).err().unwrap();
    println!("{x:?}");
    let x = b.compile(b"\0asm\x01\0\0\0\x09").err().unwrap();
    println!("{x:?}");
}

#[test]
fn cache() {
    let b = Wasmtime::new().unwrap();
    let wasm = wat::parse_str(r#"(module (func (export "f") (result i32) i32.const 4))"#).unwrap();
    let code = b.compile(&wasm).unwrap().serialize().unwrap().unwrap();
    let b2 = Wasmtime::new().unwrap();
    let m = b2.load(&wasm, &code).unwrap();
    let mut s = [0];
    m.instantiate(Arc::new(Imports::new(vec![].into(), F(|_, _: &mut dyn Caller, _: &mut [u64]| Ok(()))))).unwrap().call("f", &mut s).unwrap();
    assert_eq!(s[0], 4);
    println!("{:?}", b2.load(&wasm, b"junk").err().unwrap());
    println!("{:?}", b2.load(&wasm, b"").err().unwrap());
}

const LOOP: &str = r#"(module (import "m" "f" (func $h)) (func (export "spin") (loop (br 0))) (func (export "host") (call $h)) (func (export "ok")))"#;

#[test]
fn interrupts() {
    let b = Wasmtime::new().unwrap();
    let new = || inst(&b, LOOP, vec![imp(&[], &[])], |_, _, _| { thread::sleep(Duration::from_millis(200)); Ok(()) }).0.unwrap();
    let mut i = new();
    i.interrupt().interrupt();
    for e in ["ok", "spin", "host"] { assert_eq!(i.call(e, &mut []).unwrap_err().code, TrapCode::Interrupted); }
    let mut i = new();
    let mut other = new();
    let h = i.interrupt();
    let t = thread::spawn(move || { thread::sleep(Duration::from_millis(50)); h.interrupt(); Instant::now() });
    let e = i.call("host", &mut []).unwrap_err();
    assert_eq!(e.code, TrapCode::Interrupted, "{e:?}");
    t.join().unwrap();
    let mut i = new();
    let h = i.interrupt();
    let t = thread::spawn(move || { thread::sleep(Duration::from_millis(50)); let n = Instant::now(); h.interrupt(); n });
    let e = i.call("spin", &mut []).unwrap_err();
    assert_eq!(e.code, TrapCode::Interrupted, "{e:?}");
    println!("{e} after {:?}", t.join().unwrap().elapsed());
    other.call("ok", &mut []).unwrap();
    other.call("host", &mut []).unwrap();
    drop((i, other, b));
}

#[test]
fn race() {
    let b = Wasmtime::new().unwrap();
    let m = b.compile(&wat::parse_str(r#"(module (func (export "spin") (loop (br 0))))"#).unwrap()).unwrap();
    let start = Instant::now();
    let mut worst = Duration::ZERO;
    for _ in 0..300 {
        let mut hs = vec![];
        let mut ts = vec![];
        for _ in 0..4 {
            let mut i = m.instantiate(Arc::new(Imports::new(vec![].into(), F(|_, _: &mut dyn Caller, _: &mut [u64]| Ok(()))))).unwrap();
            hs.push(i.interrupt());
            ts.push(thread::spawn(move || assert_eq!(i.call("spin", &mut []).unwrap_err().code, TrapCode::Interrupted)));
        }
        let n = Instant::now();
        for h in hs { h.interrupt(); }
        for t in ts { t.join().unwrap(); }
        worst = worst.max(n.elapsed());
    }
    println!("{:?} worst {worst:?}", start.elapsed());
}

#[test]
fn speed() {
    let b = Wasmtime::new().unwrap();
    let (i, _) = inst(&b, r#"(module (import "m" "f" (func $h (param i32 i64) (result i32))) (memory (export "memory") 1)
      (func (export "n") (param i32) (loop (drop (call $h (local.get 0) (i64.const 3))) (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))) (func (export "e") (param i32) (result i32) local.get 0))"#,
      vec![imp(&[ValType::I32, ValType::I64], &[ValType::I32])], |_, c, s| { s[0] = c.memory().unwrap()[s[1] as usize] as u64; Ok(()) });
    let mut i = i.unwrap();
    let n = 1_000_000;
    let t = Instant::now();
    i.call("n", &mut [n]).unwrap();
    println!("host call {:?}", t.elapsed() / n as u32);
    let t = Instant::now();
    for k in 0..n { i.call("e", &mut [k]).unwrap(); }
    println!("guest call {:?}", t.elapsed() / n as u32);
}
