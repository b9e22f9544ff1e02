//! Instances that are put back into their initial state.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::imports::Calls;
use crate::stop::Stop;

/// An engine that counts the instances it makes, with what globals and how much memory.
struct Engine {
    made: Arc<AtomicUsize>,
    globals: &'static [(&'static str, u64)],
    memory: usize,
}

impl Module for Engine {
    fn serialize(&self) -> Result<Option<TrustedCode<'_>>> {
        Ok(None)
    }

    fn instantiate(&self, imports: Arc<Imports>) -> Result<Box<dyn Instance>> {
        self.made.fetch_add(1, Ordering::Relaxed);
        let globals = self.globals.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Ok(Box::new(Live { globals, imports: Some(imports), ..Live::new(self.memory, 0) }))
    }
}

/// Globals as [`State`] exports them.
const GLOBALS: &[(&str, u64)] = &[("$wharf.globals", 2), ("$wharf.global.0", 7), ("$wharf.global.1", 0)];

/// What host functions answer.
struct Answers(u64);

impl Calls for Answers {
    fn call(&self, _: usize, _: &mut dyn Caller, slots: &mut [u64]) -> std::result::Result<(), Stop> {
        slots[0] = self.0;
        Ok(())
    }
}

/// The one import of these guests.
fn answering(answer: u64) -> Imports {
    let ty = crate::types::FuncType { params: Vec::new(), results: vec![crate::types::ValType::I64] };
    let import = crate::types::Import { module: "m".to_owned(), name: "f".to_owned(), ty };
    Imports::new(Arc::from([import]), Answers(answer))
}

/// How often an instance is made if each is changed by `change` and then dropped; each has to be like a new one.
#[expect(unsafe_code, reason = "the engine does what is asked of it")]
fn made(globals: &'static [(&'static str, u64)], change: fn(&mut dyn Instance)) -> usize {
    let (prepared, expected) = overlapping();
    let made = Arc::<AtomicUsize>::default();
    // SAFETY: see `Pages`.
    let module =
        unsafe { Imaged::new(Engine { made: Arc::clone(&made), globals, memory: 512 * KIB }, &prepared) }.unwrap();
    for round in 0..5 {
        let mut live = module.instantiate(Arc::new(answering(round))).unwrap();
        assert!(live.memory().unwrap() == expected, "round {round}");
        for (name, value) in globals {
            assert_eq!(live.global(name), Some(*value), "round {round}");
        }
        let mut slots = [99];
        live.call("host", &mut slots).unwrap();
        assert_eq!(slots, [round]);
        live.memory().unwrap().fill(0xdd);
        change(&mut *live);
    }
    made.load(Ordering::Relaxed)
}

#[test]
fn an_instance_is_used_again_if_it_can_be_put_back() {
    let once = if cfg!(target_os = "linux") { 1 } else { 5 };
    assert_eq!(made(GLOBALS, |live| assert!(live.set_global("$wharf.global.1", 3))), once);
    assert_eq!(made(&[("$wharf.globals", 0)], |_| {}), once);
    assert_eq!(made(GLOBALS, |live| assert!(live.call("trap", &mut []).is_err())), 5);
    assert_eq!(made(GLOBALS, |live| live.call("grow", &mut []).unwrap()), 5);
    let panics = |live: &mut dyn Instance| {
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| live.call("panic", &mut [])));
        assert!(ended.is_err());
    };
    assert_eq!(made(GLOBALS, panics), 5);
    assert_eq!(made(GLOBALS, |live| drop(live.interrupt())), once, "nobody has interrupted it");
    assert_eq!(made(GLOBALS, |live| live.interrupt().interrupt()), 5);
    assert_eq!(made(&[("$wharf.global.0", 7)], |_| {}), 5, "other things change, too");
    assert_eq!(made(&[("$wharf.globals", 2), ("$wharf.global.0", 7)], |_| {}), 5, "one cannot be read");
}

/// What an engine keeps of the system is bounded, however many instances there were at a time.
#[test]
#[expect(unsafe_code, reason = "the engine does what is asked of it")]
fn few_instances_are_kept_and_fewer_large_ones() {
    let again = |at_a_time: usize, write: usize| {
        let prepared = prepared("(module (memory (export \"m\") 64))");
        let made = Arc::<AtomicUsize>::default();
        let engine = Engine { made: Arc::clone(&made), globals: GLOBALS, memory: 4096 * KIB };
        // SAFETY: see `Pages`.
        let module = unsafe { Imaged::new(engine, &prepared) }.unwrap();
        let round = || {
            let start = || module.instantiate(Arc::new(answering(0))).unwrap();
            let mut lives: Vec<_> = (0..at_a_time).map(|_| start()).collect();
            for live in &mut lives {
                live.memory().unwrap()[..write].fill(1);
            }
        };
        round();
        round();
        2 * at_a_time - made.load(Ordering::Relaxed)
    };
    let linux = |kept| if cfg!(target_os = "linux") { kept } else { 0 };
    assert_eq!(again(32, 1), linux(32));
    assert_eq!(again(33, 1), linux(32));
    assert_eq!(again(33, 1 << 20), linux(32));
    assert_eq!(again(32, 2 << 20), linux(16), "they take too much together");
}

#[test]
#[expect(unsafe_code, reason = "the engine does what is asked of it")]
fn what_a_host_holds_for_an_instance_goes_with_it() {
    let (prepared, _) = overlapping();
    // SAFETY: see `Pages`.
    let module =
        unsafe { Imaged::new(Engine { made: Arc::default(), globals: GLOBALS, memory: 512 * KIB }, &prepared) }
            .unwrap();
    let imports = Arc::new(answering(0));
    let live = module.instantiate(Arc::clone(&imports)).unwrap();
    assert!(Arc::strong_count(&imports) > 1);
    drop(live);
    assert_eq!(Arc::strong_count(&imports), 1);
    let lives: Vec<_> = (0..40).map(|_| module.instantiate(Arc::clone(&imports)).unwrap()).collect();
    drop((lives, module));
    assert_eq!(Arc::strong_count(&imports), 1);
}
