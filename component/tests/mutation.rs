//! Damages components at random, the same way each time: nothing panics, nothing valid becomes invalid. What becomes of composed
//! ones when they run, `cli/tests/all/composed_mutation.rs` shows.

use wharf_component::{FlattenError, FlattenOptions, flatten};

/// Mutations of each component. Most are refused by validation, which is quick.
const MUTATIONS: u32 = 1500;

/// Xorshift: deterministic, and good enough to choose bytes with.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

const SEEDS: [&str; 4] = [
    r#"
(component
  (import "h:h/i@0.2.0" (instance $i
    (export "r" (type $r (sub resource)))
    (export "f" (func (param "s" string) (param "r" (borrow $r)) (result (list (tuple u8 (option string))))))))
  (alias export $i "r" (type $r))
  (core module $libc
    (memory (export "m") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 64))
  (core instance $libc (instantiate $libc))
  (core func $f (canon lower (func $i "f")
    (memory (core memory $libc "m")) (realloc (core func $libc "realloc")) string-encoding=latin1+utf16))
  (core func $drop (canon resource.drop $r))
  (core module $m
    (import "" "f" (func $f (param i32 i32 i32 i32)))
    (import "" "drop" (func $drop (param i32)))
    (import "libc" "m" (memory 1))
    (table 3 funcref)
    (global $g (mut i64) (i64.const 4))
    (data (i32.const 3) "abc")
    (elem (i32.const 0) func $f $drop $run)
    (func $start (global.set $g (i64.const 5)))
    (start $start)
    (func $run (export "run") (result i32)
      (call_indirect (param i32) (i32.const 3) (i32.const 1))
      (call $f (i32.const 3) (i32.const 3) (i32.const 0) (i32.const 16))
      (i32.load8_u offset=3 (i32.const 0)))
    (func (export "post") (param i32)))
  (core instance $n (instantiate $m
    (with "" (instance (export "f" (func $f)) (export "drop" (func $drop))))
    (with "libc" (instance $libc))))
  (func (export "run") (result u32) (canon lift (core func $n "run") (post-return (core func $n "post")))))
"#,
    r#"
(component
  (component $a
    (core module $m
      (memory (export "m") 1)
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 64)
      (func (export "f") (param i32 i32 i32) (result i32) i32.const 8))
    (core instance $i (instantiate $m))
    (type $rec' (record (field "x" u32) (field "y" string)))
    (export $rec "rec" (type $rec'))
    (func (export "f") (param "s" string) (param "n" char) (result $rec)
      (canon lift (core func $i "f") (memory (core memory $i "m")) (realloc (core func $i "realloc"))
        string-encoding=utf16)))
  (component $b
    (import "a" (instance $a
      (type $rec' (record (field "x" u32) (field "y" string)))
      (export "rec" (type $rec (eq $rec')))
      (export "f" (func (param "s" string) (param "n" char) (result $rec)))))
    (core module $libc
      (memory (export "m") 1)
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 64))
    (core instance $libc (instantiate $libc))
    (core func $f (canon lower (func $a "f") (memory (core memory $libc "m")) (realloc (core func $libc "realloc"))))
    (core module $m
      (import "" "f" (func $f (param i32 i32 i32 i32)))
      (func (export "g") (call $f (i32.const 1) (i32.const 2) (i32.const 65) (i32.const 16))))
    (core instance $i (instantiate $m (with "" (instance (export "f" (func $f))))))
    (func (export "g") (canon lift (core func $i "g"))))
  (instance $x (instantiate $a))
  (instance $y (instantiate $b (with "a" (instance $x))))
  (export "g" (func $y "g")))
"#,
    r#"
(component
  (core module $shim
    (type $t (func (param i32) (result i32)))
    (table (export "t") 2 2 funcref)
    (func (export "0") (type $t) local.get 0 i32.const 0 call_indirect (type $t))
    (func (export "1") (type $t) local.get 0 i32.const 1 call_indirect (type $t)))
  (core module $main
    (import "s" "0" (func $a (param i32) (result i32)))
    (import "s" "1" (func $b (param i32) (result i32)))
    (func (export "f") (param i32) (result i32) (call $a (call $b (local.get 0)))))
  (core module $fix
    (import "s" "t" (table 2 2 funcref))
    (func $x (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
    (elem (i32.const 0) func $x $x))
  (core instance $s (instantiate $shim))
  (core instance $i (instantiate $main (with "s" (instance $s))))
  (core instance (instantiate $fix (with "s" (instance $s))))
  (func (export "f") (param "n" u32) (result u32) (canon lift (core func $i "f"))))
"#,
    r#"
(component
  (type $r (resource (rep i32)))
  (core func $new (canon resource.new $r))
  (core func $rep (canon resource.rep $r))
  (core func $drop (canon resource.drop $r))
  (core module $m
    (import "" "new" (func $new (param i32) (result i32)))
    (import "" "rep" (func $rep (param i32) (result i32)))
    (import "" "drop" (func $drop (param i32)))
    (func (export "make") (result i32) i32.const 77 call $new)
    (func (export "end") (param i32) local.get 0 call $drop))
  (core instance $i (instantiate $m (with "" (instance
    (export "new" (func $new)) (export "rep" (func $rep)) (export "drop" (func $drop))))))
  (export $out "thing" (type $r))
  (func $make (result (own $out)) (canon lift (core func $i "make")))
  (func $end (param "t" (own $out)) (canon lift (core func $i "end")))
  (export "[static]thing.make" (func $make))
  (export "[static]thing.end" (func $end)))
"#,
];

#[test]
fn damaged_components_are_refused_or_flattened() {
    let options = FlattenOptions { max_instances: 64, ..FlattenOptions::default() };
    let mut outcomes = [0_u32; 2];
    for (seed, text) in (1..).zip(SEEDS) {
        let wasm = wat::parse_str(text).unwrap();
        flatten(&wasm, &options).expect("the component is fine before it is damaged");
        let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ seed);
        for _ in 0..MUTATIONS {
            let mutant = mutate(&wasm, &mut random);
            match flatten(&mutant, &options) {
                Ok(_) => outcomes[0] += 1,
                Err(FlattenError::Internal { message, .. }) => panic!("{message}: {mutant:02x?}"),
                Err(_) => outcomes[1] += 1,
            }
        }
    }
    // Both happen, or this would show nothing.
    assert!(outcomes.iter().all(|count| *count > 100), "{outcomes:?}");
}

fn mutate(wasm: &[u8], random: &mut Random) -> Vec<u8> {
    let mut mutant = wasm.to_vec();
    for _ in 0..=random.below(3) {
        if mutant.len() < 10 {
            break;
        }
        let at = 8 + random.below(mutant.len() - 8);
        match random.below(8) {
            0 => mutant[at] ^= 1 << random.below(8),
            1 => mutant[at] = random.below(256) as u8,
            2 => mutant[at] = mutant[at].wrapping_add(1),
            3 => mutant[at] = mutant[at].wrapping_sub(1),
            4 => {
                let from = 8 + random.below(mutant.len() - 8);
                mutant[at] = mutant[from];
            }
            5 => {
                mutant.remove(at);
            }
            6 => mutant.insert(at, random.below(256) as u8),
            _ => mutant.truncate(at.max(9)),
        }
    }
    mutant
}
