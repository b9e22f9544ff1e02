//! A guest of WASI 0.3. A host for components that knows it serves with it; wharf's own host, which does not, says so.

use wharf_component::{Feature, FlattenError, FlattenOptions, flatten, wasi03};
use wharf_guests::HELLO_SERVICE;
use wit_component::ComponentEncoder;

use crate::case::{Case, CaseResult, Unmet};
use crate::cases::guest::front::{Front, request};
use crate::context::Context;
use crate::origin::{Origin, Reply};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] =
    &[Case::must("wasihttp/service/is-served-or-refused", "wasi:http/handler@0.3.0", served_or_refused)
        .guests(&[HELLO_SERVICE])];

fn served_or_refused(context: &Context) -> CaseResult {
    let component = component()?;
    let Some(load) = context.subject().component_host() else { return refused(&component) };
    let origin = Origin::replying(Reply::status(203).body(crate::origin::Body::Full("from the origin".into())))?;
    let front = Front::handler(load(&component)?, || {
        let config = context.net().allow(&origin.base()).config()?;
        Ok(context.program(HELLO_SERVICE.name, &[], config)?.0)
    });
    let get = |target: &str| front.answer(request("GET", target, "")?)?.whole();
    check_eq!(get("/a?b=c")?, (200, b"hello from /a?b=c\n".to_vec()), "a greeting");
    let body: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let (status, back) = front.answer(request("POST", "/echo", body.clone())?)?.whole()?;
    check_eq!((status, back.len()), (200, body.len()), "status and length of what comes back");
    check!(back == body, "something else came back");
    let fetched = get(&format!("/fetch?{}", origin.url("/")))?;
    check_eq!(fetched, (203, b"from the origin".to_vec()), "what is fetched");
    front.finish()
}

/// It is distinguished from what is not a component at all, and from a faulty one.
fn refused(component: &[u8]) -> CaseResult {
    let named = wasi03(component).unwrap_or_default();
    check!(named.starts_with("wasi:http/") && named.contains("@0.3."), "the interface of WASI 0.3 is {named:?}");
    match flatten(component, &FlattenOptions::default()) {
        Err(FlattenError::Unsupported { feature: Feature::Async, .. }) => Ok(()),
        other => Err(Unmet::failed(format!("flattening a component of WASI 0.3 gave {other:?}"))),
    }
}

/// What its toolchain makes of the core module.
fn component() -> CaseResult<Vec<u8>> {
    let core = crate::prebuilt::read(HELLO_SERVICE)?;
    let adapter = wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_PROXY_ADAPTER;
    ComponentEncoder::default()
        .module(&core)
        .and_then(|encoder| encoder.adapter("wasi_snapshot_preview1", adapter))
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| Unmet::harness(format!("the guest is not encoded as a component: {error:#}")))
}
