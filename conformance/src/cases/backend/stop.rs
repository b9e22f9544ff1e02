//! A host function ends the guest: at once, for the reason it gave, and nothing else comes to harm.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wharf_core::{Error, Kind, Stop, TrapCode};

use crate::bare::{Live, expect_trap};
use crate::case::{Case, CaseResult, Unmet};
use crate::check_eq;
use crate::context::Context;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("backend/stop/exit", "backend interface: Stop::Exit", exit),
    Case::must("backend/stop/error-is-carried", "backend interface: Stop::Error", error_is_carried),
    Case::must("backend/stop/panic-is-internal", "backend interface: Imports::call, panics", panic_is_internal),
    Case::must("backend/stop/panic-is-contained", "backend interface: Imports::call, panics", panic_is_contained),
    Case::must("backend/stop/guest-does-not-go-on", "backend interface: Halt", guest_does_not_go_on),
    Case::must("backend/stop/through-a-table", "backend interface: Halt", through_a_table),
    Case::must("backend/stop/from-deep-within", "backend interface: Halt", from_deep_within),
    Case::must(
        "backend/stop/host-is-dropped",
        "backend interface: Imports live as long as the instance",
        host_is_dropped,
    ),
];

const STOPPING: &str = r#"(module
  (type $t (func))
  (import "m" "stop" (func $stop (type $t)))
  (global $after (export "after") (mut i32) (i32.const 0))
  (table 1 funcref) (elem (i32.const 0) $stop)
  (func (export "go") (call $stop) (global.set $after (i32.const 1)))
  (func (export "indirect") (call_indirect (type $t) (i32.const 0)) (global.set $after (i32.const 1)))
  (func $deep (export "deep") (param i32)
    (if (i32.eqz (local.get 0)) (then (call $stop)) (else (call $deep (i32.sub (local.get 0) (i32.const 1)))))
    (global.set $after (i32.const 1)))
  (func (export "fine") (result i32) (i32.const 42)))"#;

fn stopped(live: &mut Live, export: &str, params: &[u64]) -> CaseResult<Option<Stop>> {
    expect_trap(live.call(export, params, 0), TrapCode::Host)?;
    check_eq!(live.instance.global("after"), Some(0), "the guest went on after the host ended it");
    Ok(live.imports.take_stop())
}

fn expect_exit(stop: Option<Stop>, status: i32) -> CaseResult {
    match stop {
        Some(Stop::Exit(seen)) if seen == status => Ok(()),
        other => Err(Unmet::failed(format!("expected an exit with {status}, saw {other:?}"))),
    }
}

fn exit(context: &Context) -> CaseResult {
    for status in [0, 1, 255, -1, i32::MIN] {
        let mut live = context.live_with(STOPPING, move |_, _, _| Err(Stop::Exit(status)))?;
        expect_exit(stopped(&mut live, "go", &[])?, status)?;
    }
    Ok(())
}

fn error_is_carried(context: &Context) -> CaseResult {
    let mut live = context.live_with(STOPPING, |_, _, _| {
        let cause = std::io::Error::other("the cause");
        Err(Stop::Error(Error::new(Kind::Denied, "the message").with_source(cause)))
    })?;
    match stopped(&mut live, "go", &[])? {
        Some(Stop::Error(error)) => {
            check_eq!(error.kind(), Kind::Denied, "the kind of the host's error");
            check_eq!(wharf_core::chain(&error), "the message: the cause", "the host's error with its cause");
            Ok(())
        }
        other => Err(Unmet::failed(format!("expected the host's own error, saw {other:?}"))),
    }
}

/// Panics without a word on standard error.
fn quiet_panic() -> ! {
    std::panic::resume_unwind(Box::new("the case's own panic"))
}

fn panic_is_internal(context: &Context) -> CaseResult {
    let mut live = context.live_with(STOPPING, |_, _, _| quiet_panic())?;
    match stopped(&mut live, "go", &[])? {
        Some(Stop::Error(error)) if error.kind() == Kind::Internal && error.to_string().contains("own panic") => Ok(()),
        other => Err(Unmet::failed(format!("expected an error of kind Internal with the panic's text, saw {other:?}"))),
    }
}

fn panic_is_contained(context: &Context) -> CaseResult {
    for _ in 0..10 {
        let mut live = context.live_with(STOPPING, |_, _, _| quiet_panic())?;
        expect_trap(live.call("go", &[], 0), TrapCode::Host)?;
        check_eq!(live.call1("fine", &[])?, 42, "the same instance after a host function panicked");
        check_eq!(
            context.live(r#"(module (func (export "f") (result i32) (i32.const 1)))"#)?.call1("f", &[])?,
            1,
            "another"
        );
    }
    Ok(())
}

fn guest_does_not_go_on(context: &Context) -> CaseResult {
    let mut live = context.live_with(STOPPING, |_, _, _| Err(Stop::Exit(3)))?;
    for _ in 0..3 {
        expect_exit(stopped(&mut live, "go", &[])?, 3)?;
    }
    Ok(())
}

fn through_a_table(context: &Context) -> CaseResult {
    let mut live = context.live_with(STOPPING, |_, _, _| Err(Stop::Exit(4)))?;
    expect_exit(stopped(&mut live, "indirect", &[])?, 4)
}

fn from_deep_within(context: &Context) -> CaseResult {
    let mut live = context.live_with(STOPPING, |_, _, _| Err(Stop::Exit(5)))?;
    expect_exit(stopped(&mut live, "deep", &[1000])?, 5)
}

/// The host's state is freed with the instance, whether its guest returned, trapped or was ended.
fn host_is_dropped(context: &Context) -> CaseResult {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let alive = Arc::new(AtomicUsize::new(0));
    for export in ["fine", "go"] {
        for _ in 0..10 {
            alive.fetch_add(1, Ordering::SeqCst);
            let counted = Counted(alive.clone());
            let mut live = context.live_with(STOPPING, move |_, _, _| {
                let _kept = &counted;
                Err(Stop::Exit(0))
            })?;
            let _either_way = live.call(export, &[], 1);
        }
    }
    check_eq!(alive.load(Ordering::SeqCst), 0, "host states that outlived their instance");
    Ok(())
}
