//! Functions that the guest waits for.

use std::future::pending;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use wharf_core::{GuestConfig, Kind, Linker, Result, Stop};

use super::probe::{Probe, STORE, Text, ended};
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::needs::INTERRUPT;
use crate::context::Context;
use crate::origin::PATIENCE;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("linker/async/gives-its-result", "linker: func_async", result),
    Case::must("linker/async/time-limit", "linker: func_async", time_limit).needs(&[INTERRUPT]),
    Case::must("linker/async/cancelled", "linker: func_async", cancelled),
    Case::must("linker/async/error", "linker: func_async", error),
    Case::must("linker/async/panic", "linker: func_async", panics),
    Case::must("linker/async/core-function-waits", "linker: HostCall::wait", core_function),
];

fn text() -> Text {
    Text::new().func("wait", r#"(param "n" u32) (result u32)"#, "i32", "i32")
}

/// After a while, what it got and one more.
async fn later(n: u32) -> u32 {
    tokio::time::sleep(Duration::from_millis(20)).await;
    n + 1
}

fn result(context: &Context) -> CaseResult {
    let mut linker = Linker::new();
    linker.func_async(STORE, "wait", |_, (n,): (u32,)| async move { Result::<u32>::Ok(later(n).await) })?;
    let mut probe = Probe::start(context, &text(), &linker, GuestConfig::default())?;
    check_eq!(probe.call("wait", &[6])?, 7, "the result");
    check_eq!(probe.call("wait", &[7])?, 8, "the result of the next call");
    Ok(())
}

/// Says when it is dropped.
struct Tells(SyncSender<()>);

impl Drop for Tells {
    fn drop(&mut self) {
        // Nobody listens once the case has failed.
        let _ = self.0.send(());
    }
}

/// A function whose future says that it began, and never ends; and what is told when it is dropped.
fn forever() -> CaseResult<(Linker, Receiver<()>, Receiver<()>)> {
    let (begins, began) = sync_channel(1);
    let (tells, dropped) = sync_channel(1);
    let tells = Mutex::new(Some(Tells(tells)));
    let mut linker = Linker::new();
    linker.func_async(STORE, "wait", move |_, (_,): (u32,)| {
        let tells = tells.lock().map(|mut tells| tells.take()).unwrap_or_default();
        let begins = begins.clone();
        async move {
            let _dropped_with_the_future = tells;
            let _ = begins.send(());
            pending::<Result<u32>>().await
        }
    })?;
    Ok((linker, began, dropped))
}

fn is_dropped(dropped: &Receiver<()>) -> CaseResult {
    dropped.recv_timeout(PATIENCE).map_err(|_| Unmet::failed("the future goes on though the guest has ended"))
}

fn time_limit(context: &Context) -> CaseResult {
    let (linker, _began, dropped) = forever()?;
    let config = GuestConfig { timeout: Some(Duration::from_millis(200)), ..GuestConfig::default() };
    let mut probe = Probe::start(context, &text(), &linker, config)?;
    let before = Instant::now();
    let error = ended(probe.try_call("wait", &[0]), Kind::Timeout, &["time limit"])?;
    check!(!error.to_string().contains(STORE), "the limit is said to be the function's error: {error}");
    check!(before.elapsed() < PATIENCE, "the wait took {:?}", before.elapsed());
    is_dropped(&dropped)
}

fn cancelled(context: &Context) -> CaseResult {
    let (linker, began, dropped) = forever()?;
    let config = GuestConfig::default();
    let cancel = config.cancel.clone();
    let mut probe = Probe::start(context, &text(), &linker, config)?;
    let cancels = thread::spawn(move || {
        let begun = began.recv_timeout(PATIENCE);
        cancel.cancel();
        begun
    });
    ended(probe.try_call("wait", &[0]), Kind::Cancelled, &[])?;
    let begun = cancels.join().map_err(|_| Unmet::harness("the thread that cancels panicked"))?;
    begun.map_err(|_| Unmet::failed("the future never began"))?;
    is_dropped(&dropped)
}

fn error(context: &Context) -> CaseResult {
    let mut linker = Linker::new();
    linker.func_async(
        STORE,
        "wait",
        |_, (n,): (u32,)| async move { Err::<u32, _>(format!("no {}", later(n).await)) },
    )?;
    let mut probe = Probe::start(context, &text(), &linker, GuestConfig::default())?;
    probe.ends("wait", &[6], Kind::Host, &["my:kv/store@1.0.0#wait", "no 7"])?;
    Ok(())
}

fn panics(context: &Context) -> CaseResult {
    let mut linker = Linker::new();
    linker.func_async(STORE, "wait", |_, (n,): (u32,)| async move {
        later(n).await;
        std::panic::resume_unwind(Box::new("as the case wants"));
        #[allow(unreachable_code, reason = "says what it would give")]
        Result::<u32>::Ok(n)
    })?;
    let mut probe = Probe::start(context, &text(), &linker, GuestConfig::default())?;
    probe.ends("wait", &[6], Kind::Internal, &["panicked", "as the case wants"])?;
    Ok(())
}

/// It may write to the guest's memory when it has waited.
fn core_function(context: &Context) -> CaseResult {
    let mut linker = Linker::new();
    linker.core_func("env", "wait", |call, (at, n): (u32, u32)| -> Result<(), Stop> {
        let n = call.wait(later(n))?;
        call.memory().map_err(wharf_core::Error::from)?.write(at, &n.to_le_bytes()).map_err(wharf_core::Error::from)?;
        Ok(())
    })?;
    let module = crate::bare::assemble(
        r#"(module (import "env" "wait" (func $wait (param i32 i32))) (memory (export "memory") 1)
            (func (export "wait") (param i32) (result i32)
                (call $wait (i32.const 64) (local.get 0)) (i32.load (i32.const 64))))"#,
    )?;
    let guest = Arc::new(context.load_with(&module, &linker)?);
    check_eq!(guest.start(GuestConfig::default())?.call("wait", &[41])?, [42], "what it wrote");
    Ok(())
}
