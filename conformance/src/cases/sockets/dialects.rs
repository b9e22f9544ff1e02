//! Which function an import is bound to, by its name and its signature.

use wharf_core::Inspection;
use wharf_core::Kind;
use wharf_core::abi::preview1::{Dialect, MODULE};
use wharf_core::grants::Network;

use super::probe::SockProbe;
use crate::bare::assemble;
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::probe::Wat;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("sockets/dialect/all-in-one-module", "dialects: by name and signature", all),
    Case::must("sockets/dialect/as-the-crate-mixes-them", "dialects: wasmedge_wasi_socket 0.5.5", mixed),
    Case::must("sockets/dialect/no-such-signature", "dialects: a signature of none", none),
    Case::must("sockets/dialect/wasix", "dialects: WASIX is refused", wasix),
];

fn all(context: &Context) -> CaseResult {
    SockProbe::start(context, Network::new()).map(drop)
}

fn mixed(context: &Context) -> CaseResult {
    let functions = [
        ("sock_open", 3, Dialect::WasmEdgeV1),
        ("sock_accept", 2, Dialect::WasmEdgeV1),
        ("sock_recv", 6, Dialect::Standard),
        ("sock_recv_from", 8, Dialect::WasmEdgeV2),
        ("sock_send_to", 7, Dialect::WasmEdgeV1),
        ("sock_getpeeraddr", 4, Dialect::WasmEdgeV1),
        ("sock_getlocaladdr", 3, Dialect::WasmEdgeV2),
        ("sock_shutdown", 2, Dialect::Standard),
    ];
    let wat = functions
        .iter()
        .fold(Wat::new(), |wat, (name, params, _)| wat.import(MODULE, name, &vec!["i32"; *params].join(" "), "i32"));
    let inspection = Inspection::of(&assemble(&wat.text())?)?;
    let bound: Vec<_> = inspection.imports.iter().map(|(import, _)| Dialect::of(import)).collect();
    let right: Vec<_> = functions.iter().map(|(.., dialect)| Some(*dialect)).collect();
    check_eq!(bound, right, "the dialects");
    context.guest(&wat.text()).map(drop)
}

fn refused(context: &Context, wat: &Wat, parts: &[&str]) -> CaseResult {
    match context.load(&assemble(&wat.text())?) {
        Err(error) => {
            check_eq!(error.kind(), Kind::Unsupported, "the kind of the error");
            let text = error.to_string();
            check!(parts.iter().all(|part| text.contains(part)), "the error should name {parts:?}: {text}");
            Ok(())
        }
        Ok(_) => Err(Unmet::failed("the guest is loaded")),
    }
}

fn none(context: &Context) -> CaseResult {
    refused(context, &Wat::new().import(MODULE, "sock_accept", "i32", "i32"), &["sock_accept", "signature"])?;
    refused(context, &Wat::new().import(MODULE, "sock_open", "i32 i32 i64", "i32"), &["sock_open", "(i32, i32, i32)"])?;
    refused(context, &Wat::new().import(MODULE, "sock_opens", "i32 i32 i32", "i32"), &["sock_opens", "sock_open"])
}

fn wasix(context: &Context) -> CaseResult {
    for module in ["wasix_32v1", "wasix_64v1"] {
        let wat = Wat::new().import(module, "sock_open", "i32 i32 i32 i32", "i32");
        refused(context, &wat, &["sock_open", module, "WASIX", "wasm32-wasip1"])?;
    }
    Ok(())
}
