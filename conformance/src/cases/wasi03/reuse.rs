//! Instances of WASI 0.3 that answer more than one request, one after another or several at a time.

mod client;
mod counter;
mod ends;

use std::collections::VecDeque;
use std::io::Write;
use std::time::Instant;

use wharf_core::{GuestConfig, HostedSession, Run};
use wharf_guests::HELLO_SERVICE;
use wharf_server::HandlerOptions;

use self::client::{
    Client, LONG, MANY, enters, idle, is_refused, loaded, options, query, serve, served, settled, until, waiting,
};
pub use self::counter::counter;
use super::probe::load;
use super::service::component;
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::wasihttp::handler::{FINISH, HELLO, RESPOND, handler};
use crate::context::Context;
use crate::served::Served;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasi03/reuse/isolation-is-the-default", OURS, isolation),
    Case::must("wasi03/reuse/one-after-another", OURS, one_after_another),
    Case::must("wasi03/reuse/one-after-another-where-several-may-be", OURS, one_after_another_of_several),
    Case::must("wasi03/reuse/several-at-a-time", HANDLER, several),
    Case::must("wasi03/reuse/they-end-in-any-order", HANDLER, any_order),
    Case::must("wasi03/reuse/no-more-at-a-time-than-may-be", OURS, no_more_at_a_time),
    Case::must("wasi03/reuse/no-more-altogether-than-may-be", OURS, no_more_altogether),
    Case::must("wasi03/reuse/many-at-a-time", HANDLER, many),
    Case::must("wasi03/reuse/one-that-yields-lets-others-go-on", "Concurrency.md: yield", yields),
    Case::must("wasi03/reuse/backpressure-keeps-others-out", BACKPRESSURE, pressed),
    Case::must("wasi03/reuse/backpressure-that-ends-lets-others-in", BACKPRESSURE, released),
    Case::must("wasi03/reuse/backpressure-that-is-left-on-ends-the-instance", BACKPRESSURE, left_on),
    Case::must("wasi03/reuse/a-trap-ends-all-that-are-in-the-instance", TRAP, ends::trap),
    Case::must("wasi03/reuse/a-trap-is-answered-with-500", TRAP, ends::trap_unanswered),
    Case::must("wasi03/reuse/an-exit-without-an-answer-is-a-trap", TRAP, ends::unanswered),
    Case::must("wasi03/reuse/a-client-that-leaves-cancels-its-own-task", CANCEL, ends::leaves),
    Case::must("wasi03/reuse/a-task-that-does-not-cancel-ends-with-its-time", CANCEL, ends::does_not_cancel),
    Case::must("wasi03/reuse/a-request-may-wait-no-longer-than-its-time", OURS, ends::waits_too_long),
    Case::must("wasi03/reuse/a-request-may-compute-no-longer-than-its-time", OURS, ends::computes_too_long),
    Case::must("wasi03/reuse/a-response-that-arrived-is-told-of", SENT, ends::arrived),
    Case::must("wasi03/reuse/a-response-whose-client-left-is-told-of", SENT, ends::lost),
    Case::must("wasi03/reuse/handles-that-are-left-end-the-instance", OURS, ends::leaves_handles),
    Case::must("wasi03/reuse/a-body-that-is-kept-ends-with-its-request", "RFC 9112, section 9.3", ends::keeps_a_body),
    Case::must("wasi03/reuse/memory-is-given-back", OURS, gives_back),
    Case::must("wasi03/reuse/bodies-stream-side-by-side", HANDLER, side_by_side).guests(&[HELLO_SERVICE]),
    Case::must("wasi03/reuse/what-cannot-be-is-refused", OURS, refused),
];

const OURS: &str = "docs/serving.md: instances that are used again";
const HANDLER: &str = "wasi:http/handler@0.3.0: several tasks in one instance";
const BACKPRESSURE: &str = "CanonicalABI.md: backpressure.inc, backpressure.dec";
const TRAP: &str = "CanonicalABI.md: a trap ends the instance";
const CANCEL: &str = "CanonicalABI.md: task.cancel";
const SENT: &str = "wasi:http/types@0.3.0: response.new";

fn counts(served: &Served, expected: &[u8], kept: impl Fn(u8) -> usize) -> CaseResult {
    for count in expected {
        check_eq!(query(served)?.count, *count, "how many requests the instance was handed");
        idle(served, kept(*count))?;
    }
    Ok(())
}

fn isolation(context: &Context) -> CaseResult {
    let served = serve(loaded(context)?, HandlerOptions::default(), LONG)?;
    counts(&served, &[1, 1, 1], |_| 0)
}

fn one_after_another(context: &Context) -> CaseResult {
    let Some(served) = served(context, 3, 1, LONG)? else { return Ok(()) };
    if context.subject().component_host().is_some() {
        return counts(&served, &[1, 1, 1, 1], |_| 0);
    }
    counts(&served, &[1, 2, 3, 1, 2, 3, 1], |count| usize::from(count < 3))
}

fn one_after_another_of_several(context: &Context) -> CaseResult {
    let Some(served) = served(context, 3, 2, LONG)? else { return Ok(()) };
    counts(&served, &[1, 2, 3, 1, 2, 3, 1], |count| usize::from(count < 3))
}

fn several(context: &Context) -> CaseResult {
    let Some(served) = served(context, MANY, 8, LONG)? else { return Ok(()) };
    let first = enters(&served, 'w', 1, 1)?;
    let second = enters(&served, 'w', 2, 2)?;
    let third = enters(&served, 'w', 3, 3)?;
    for count in [4, 5] {
        check_eq!(query(&served)?.count, count, "one that is answered meanwhile");
        waiting(&served, 1)?;
    }
    for (client, inside) in [(first, 3), (second, 2), (third, 1)] {
        let report = client.finish()?;
        check_eq!((report.count, report.inside), (5, inside), "what each sees at its end");
    }
    idle(&served, 1)?;
    check_eq!(query(&served)?.count, 6, "the instance goes on");
    Ok(())
}

fn any_order(context: &Context) -> CaseResult {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let Some(served) = served(context, MANY, 3, LONG)? else { return Ok(()) };
        let mut clients = Vec::new();
        for number in 1..=3 {
            clients.push(Some(enters(&served, 'w', number, number)?));
        }
        for (at, left) in order.into_iter().zip([3, 2, 1]) {
            let client = clients[at].take().ok_or_else(|| Unmet::harness("one client twice"))?;
            check_eq!(client.finish()?.inside, left, "how many are inside when number {at} of {order:?} ends");
        }
    }
    Ok(())
}

fn no_more_at_a_time(context: &Context) -> CaseResult {
    let Some(served) = served(context, MANY, 2, LONG)? else { return Ok(()) };
    let first = enters(&served, 'w', 1, 1)?;
    let (second, report) = Client::told(&served, 'w')?;
    check_eq!((report.count, report.inside), (2, 2), "the second request");
    let (third, report) = Client::told(&served, 'w')?;
    check_eq!((report.count, report.inside), (1, 1), "the third request, which has an instance of its own");
    for (client, inside) in [(first, 2), (third, 1), (second, 1)] {
        check_eq!(client.finish()?.inside, inside, "how many are inside");
    }
    idle(&served, 2)
}

fn no_more_altogether(context: &Context) -> CaseResult {
    let Some(served) = served(context, 2, 4, LONG)? else { return Ok(()) };
    let first = enters(&served, 'w', 1, 1)?;
    let second = Client::told(&served, 'w')?;
    check_eq!((second.1.count, second.1.inside), (2, 2), "the second request");
    let third = Client::told(&served, 'w')?;
    check_eq!((third.1.count, third.1.inside), (1, 1), "the third request, which has an instance of its own");
    first.finish()?;
    second.0.finish()?;
    // The first instance has answered as many as it may: what is left is the third request's.
    until("the first instance works on", || Ok(served.handler().waiting_instances() == 1))?;
    third.0.finish()?;
    idle(&served, 1)?;
    check_eq!(query(&served)?.count, 2, "the second request of the second instance");
    Ok(())
}

fn many(context: &Context) -> CaseResult {
    let Some(served) = served(context, MANY, 32, LONG)? else { return Ok(()) };
    let mut clients = Vec::new();
    for number in 1..=32 {
        clients.push(enters(&served, 'w', number, number)?);
    }
    // From both ends.
    for (at, inside) in (1..=32).rev().enumerate() {
        let client =
            if at % 2 == 0 { clients.remove(0) } else { clients.pop().ok_or_else(|| Unmet::harness("none"))? };
        check_eq!(client.finish()?.inside, inside, "how many are inside at end {at}");
    }
    idle(&served, 1)
}

fn yields(context: &Context) -> CaseResult {
    let Some(served) = served(context, MANY, 4, LONG)? else { return Ok(()) };
    let first = enters(&served, 'w', 1, 1)?;
    let second = enters(&served, 'y', 2, 2)?;
    let third = enters(&served, 'y', 3, 3)?;
    for (client, inside) in [(second, 3), (first, 2), (third, 1)] {
        check_eq!(client.finish()?.inside, inside, "how many are inside");
    }
    Ok(())
}

fn pressed(context: &Context) -> CaseResult {
    let Some(served) = served(context, MANY, 4, LONG)? else { return Ok(()) };
    let (client, report) = Client::told(&served, 'b')?;
    check_eq!((report.count, report.inside), (1, 1), "the request that puts backpressure on");
    for count in 1..=3 {
        let report = query(&served)?;
        check_eq!((report.count, report.inside), (count, 1), "a request meanwhile, which has another instance");
        until("the other instance is not idle", || Ok(served.handler().idle_instances().1 == 1))?;
    }
    let report = client.finish()?;
    check_eq!((report.count, report.inside), (1, 1), "what has entered");
    idle(&served, 2)
}

fn released(context: &Context) -> CaseResult {
    let Some(served) = served(context, MANY, 4, LONG)? else { return Ok(()) };
    let first = enters(&served, 'w', 1, 1)?;
    let (second, report) = Client::told(&served, 'b')?;
    check_eq!((report.count, report.inside), (2, 2), "the request that puts backpressure on");
    check_eq!(query(&served)?.count, 1, "a request meanwhile, which has another instance");
    until("the other instance is not idle", || Ok(served.handler().idle_instances().1 == 1))?;
    check_eq!(second.finish()?.inside, 2, "how many are inside when backpressure ends");
    waiting(&served, 1)?;
    let report = query(&served)?;
    check_eq!((report.count, report.inside), (3, 2), "a request that may enter again");
    check_eq!(first.finish()?.count, 3, "how many have entered");
    Ok(())
}

fn left_on(context: &Context) -> CaseResult {
    let Some(served) = served(context, MANY, 4, LONG)? else { return Ok(()) };
    let (client, report) = Client::told(&served, 'B')?;
    check_eq!(report.count, 1, "the first request");
    client.finish()?;
    idle(&served, 0)?;
    check_eq!(query(&served)?.count, 1, "the next request, in an instance of its own");
    Ok(())
}

fn gives_back(context: &Context) -> CaseResult {
    let guest = loaded(context)?;
    if context.subject().component_host().is_some() {
        return is_refused(guest, options(10, 2));
    }
    let mut session = guest.start(GuestConfig::default())?;
    let budget = session.budget();
    check!(session.recycle(), "a new instance is not fit for a request");
    let before = budget.used();
    for round in 0..3 {
        session.reset_for(GuestConfig { timeout: Some(LONG), ..GuestConfig::default() })?;
        for _ in 0..20 {
            handed(&mut *session)?;
        }
        check!(session.recycle(), "the instance is not fit for another after round {round}");
        check_eq!(session.open_handles(), 0, "handles that are open");
        check_eq!(budget.used(), before, "the memory that it takes after round {round}");
    }
    Ok(())
}

/// Hands an instance one request, and reads the answer.
fn handed(session: &mut dyn HostedSession) -> CaseResult {
    use http_body_util::BodyExt;
    use wharf_core::abi::wasi02::http::Reply;
    use wharf_core::{Door, Entering};

    let (reply, answer) = Reply::channel();
    let (tell, ended) = std::sync::mpsc::channel();
    let door = Door::new(1, 1, |entering| entering.end(Ok(())));
    let entering = Entering {
        request: crate::cases::guest::front::request("GET", "/q", "")?,
        reply,
        config: GuestConfig { timeout: Some(LONG), ..GuestConfig::default() },
        deadline: Instant::now().checked_add(LONG),
        left: Default::default(),
        ended: Box::new(move |ended| _ = tell.send(ended)),
    };
    let reader = std::thread::spawn(move || {
        let answer = Run::default().wait(answer)?.map_err(Unmet::harness)?;
        let response = answer.map_err(|code| Unmet::failed(format!("the answer is the error {code:?}")))?;
        Run::default().wait(response.into_body().collect())?.map_err(Unmet::harness)?;
        Ok::<_, Unmet>(())
    });
    door.offer(Box::new(entering)).map_err(|_| Unmet::failed("a new door is closed"))?;
    session.handle_together(&door)?;
    ended.recv().map_err(Unmet::harness)??;
    reader.join().map_err(|_| Unmet::harness("the reader panicked"))?
}

fn side_by_side(context: &Context) -> CaseResult {
    let component = component()?;
    let guest = context.subject().shared("wasi03/service", || load(context, &component))?;
    if context.subject().component_host().is_some() {
        return is_refused(guest, options(100, 8));
    }
    let served = serve(guest, options(100, 8), LONG)?;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut stream = served.connect()?;
        let head = b"POST /echo HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\ncontent-length: 12\r\n\r\n";
        stream.write_all(head).map_err(Unmet::harness)?;
        clients.push(Client { stream, seen: VecDeque::new() });
    }
    // Each in its turn, and then the other way round.
    for part in 0..3 {
        let mut order: Vec<usize> = (0..clients.len()).collect();
        if part % 2 == 1 {
            order.reverse();
        }
        for at in order {
            let text = format!("<{part}{at}>");
            clients[at].stream.write_all(text.as_bytes()).map_err(Unmet::harness)?;
            clients[at].until(&text).map_err(|unmet| unmet.context(format!("part {part} of exchange {at}")))?;
        }
    }
    for client in clients {
        let rest = client.rest();
        check!(rest.ends_with("0\r\n\r\n"), "the response is not whole: `{rest}`");
    }
    settled(&served)
}

fn refused(context: &Context) -> CaseResult {
    let guest = loaded(context)?;
    is_refused(guest, options(1, 4))?;
    // An instance of WASI 0.2 answers one request at a time.
    is_refused(context.hosted(&handler(&[RESPOND, HELLO, FINISH]))?, options(100, 4))
}
