//! What a guest has the host keep counts towards its memory, by what it takes, and is given back when it goes.

use wharf_core::{Kind, Stop};

use super::probe::Wasi02;
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

const LIMIT: &str = "LoadOptions::max_memory";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasihttp/budget/many-fields", LIMIT, many_fields),
    Case::must("wasihttp/budget/many-small-fields", LIMIT, small_fields),
    Case::must("wasihttp/budget/requests-with-long-strings", LIMIT, strings),
    Case::must("wasihttp/budget/filled-bodies", LIMIT, bodies),
    Case::must("wasihttp/budget/what-is-dropped-is-given-back", LIMIT, given_back),
];

/// What the probe's own memory takes, and what is left beside it.
const MEMORY: u64 = 4 << 16;
const LEFT: u64 = 2 << 20;

fn probe(context: &Context) -> CaseResult<Wasi02> {
    context.not_for_components("what their host keeps is bounded piece by piece, and not counted")?;
    Wasi02::within(context, MEMORY + LEFT)
}

/// Does this again and again, which must end the guest at its limit; gives how often it went well.
fn until_the_limit(
    probe: &mut Wasi02,
    mut step: impl FnMut(&mut Wasi02) -> CaseResult<Result<(), Stop>>,
) -> CaseResult<u64> {
    let budget = probe.probe.session.budget();
    for times in 0..100_000 {
        check!(budget.used() <= MEMORY + LEFT, "{} bytes are charged", budget.used());
        match step(probe)? {
            Ok(()) => {}
            Err(Stop::Error(error)) if error.kind() == Kind::Limit => {
                let text = wharf_core::chain(&error);
                check!(text.contains("max-memory"), "the error does not name its limit: {text}");
                check_eq!(budget.used(), MEMORY, "what is charged once the guest has ended");
                return Ok(times);
            }
            Err(stop) => return Err(stop.into()),
        }
    }
    Err(Unmet::failed("the guest reached no limit"))
}

fn call(probe: &mut Wasi02, name: &str, arguments: &[u64]) -> Result<u64, Stop> {
    Ok(probe.probe.try_call(name, arguments)?.first().copied().unwrap_or_default())
}

fn many_fields(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let value = "v".repeat(8 << 10);
    let times = until_the_limit(&mut probe, |probe| {
        let fields = match call(probe, "[constructor]fields", &[]) {
            Ok(fields) => fields,
            Err(stop) => return Ok(Err(stop)),
        };
        let ([name, name_len], [value, len]) = (probe.bytes("a")?, probe.bytes(&value)?);
        let out = probe.out();
        Ok(call(probe, "[method]fields.append", &[fields, name, name_len, value, len, out]).map(drop))
    })?;
    check!((100..LEFT / (8 << 10)).contains(&times), "{times} fields of 8 KiB were kept in {LEFT} bytes");
    Ok(())
}

/// A name of one byte and an empty value take many times that.
fn small_fields(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let mut fields = 0;
    let mut in_it = 0;
    let times = until_the_limit(&mut probe, |probe| {
        // So many are within the limit of each.
        if in_it == 0 {
            match call(probe, "[constructor]fields", &[]) {
                Ok(new) => fields = new,
                Err(stop) => return Ok(Err(stop)),
            }
        }
        in_it = (in_it + 1) % 1000;
        let ([name, name_len], [value, len]) = (probe.bytes("a")?, probe.bytes("")?);
        let out = probe.out();
        Ok(call(probe, "[method]fields.append", &[fields, name, name_len, value, len, out]).map(drop))
    })?;
    check!((1000..LEFT / 89).contains(&times), "{times} entries were kept in {LEFT} bytes");
    Ok(())
}

fn strings(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let path = format!("/{}", "p".repeat(12 << 10));
    let times = until_the_limit(&mut probe, |probe| {
        let made = call(probe, "[constructor]fields", &[])
            .and_then(|fields| call(probe, "[constructor]outgoing-request", &[fields]));
        let request = match made {
            Ok(request) => request,
            Err(stop) => return Ok(Err(stop)),
        };
        probe.out();
        let [path, len] = probe.bytes(&path)?;
        Ok(call(probe, "[method]outgoing-request.set-path-with-query", &[request, 1, path, len]).map(drop))
    })?;
    check!((50..LEFT / (12 << 10)).contains(&times), "{times} paths of 12 KiB were kept in {LEFT} bytes");
    Ok(())
}

/// A stream has an error for it.
fn bodies(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let part = vec![0; 12 << 10];
    for written in 0u64.. {
        check!(written * (36 << 10) <= LEFT, "{written} bodies were filled");
        let request = probe.request("example.com", "/", &[])?;
        let body = probe.ok("[method]outgoing-request.body", &[request])?;
        let stream = probe.ok("[method]outgoing-body.write", &[body])?;
        for _ in 0..3 {
            probe.ok("[method]output-stream.check-write", &[stream])?;
            let [ptr, len] = probe.bytes(&part)?;
            if probe.case("[method]output-stream.write", &[stream, ptr, len])? == 0 {
                continue;
            }
            check!(written > 8, "no more than {written} bodies were filled");
            check_eq!(probe.byte(4)?, 0, "the case of the stream's error, `last-operation-failed`");
            let error = probe.word(8)?;
            check_eq!(probe.case("http-error-code", &[error.into()])?, 1, "whether it is an error of HTTP");
            // What was written is not taken for the whole body.
            probe.call("[resource-drop]output-stream", &[stream])?;
            let finished = probe.case("[static]outgoing-body.finish", &[body, 0, 0])?;
            check_eq!(finished, 1, "whether finishing the body fails");
            return Ok(());
        }
    }
    Ok(())
}

fn given_back(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let budget = probe.probe.session.budget();
    let before = budget.used();
    // More than there is room for, one after the other.
    for _ in 0..4 * LEFT / (12 << 10) {
        let value = "v".repeat(12 << 10);
        let fields = probe.fields(&[("a", &value)])?;
        check!(budget.used() > before + (12 << 10), "fields of 12 KiB are charged with {}", budget.used() - before);
        let copy = probe.call("[method]fields.clone", &[fields])?;
        check_eq!(probe.append(copy, "b", "")?, None, "the error of changing a copy");
        check!(budget.used() > before + (24 << 10), "their copy is not charged: {}", budget.used() - before);
        let [name, len] = probe.bytes("A")?;
        check_eq!(probe.changes("[method]fields.delete", &[copy, name, len])?, None, "the error of deleting");
        check!(budget.used() < before + (24 << 10), "what was deleted is still charged: {}", budget.used() - before);
        for fields in [fields, copy] {
            probe.call("[resource-drop]fields", &[fields])?;
        }
        check_eq!(budget.used(), before, "what is charged once all is dropped");
    }
    Ok(())
}
