//! What the host needs for calls between components that are asynchronous: the functions that adapters pass to it.
//!
//! An adapter passes functions to the host by reference. A flattened module passes their numbers instead, since what a host
//! can call by number is an export.

use std::collections::{BTreeMap, HashMap, HashSet};

use wasmparser::Operator;

use super::{Exported, Namer};
use crate::blueprint::{Def, HostKind};
use crate::error::{Result, internal};
use crate::link::{Func, at};
use crate::plan::Calls;

/// What is exported for calls between components.
pub(super) struct Joining {
    /// The functions that adapters pass, by their position in [`Calls::functions`].
    pub(super) passed: HashMap<Func, i32>,
    /// What the plan says of it; `None` if no component calls another one asynchronously.
    pub(super) calls: Option<Calls>,
    /// The exports, by position in the lists of the blueprint.
    callbacks: BTreeMap<usize, String>,
    post_returns: BTreeMap<usize, String>,
}

impl Joining {
    /// Exports what calls need that the host starts.
    pub(super) fn new(namer: &mut Namer<'_>) -> Result<Self> {
        let blueprint = namer.blueprint;
        let mut joining =
            Joining { passed: HashMap::new(), calls: None, callbacks: BTreeMap::new(), post_returns: BTreeMap::new() };
        let mut needed = !(blueprint.stream_tables.is_empty() && blueprint.future_tables.is_empty());
        for host in &blueprint.hosts {
            let (callback, post_return) = match host.kind {
                HostKind::StartAndWait { callback } => (callback, None),
                HostKind::Start { callback, post_return } => (callback, post_return),
                _ => continue,
            };
            needed = true;
            export(namer, "$callback", &blueprint.callbacks, callback, &mut joining.callbacks)?;
            export(namer, "$post_return", &blueprint.post_returns, post_return, &mut joining.post_returns)?;
        }
        let global = namer.linked.may_block();
        let blocks = namer.linked.instances.iter().any(|instance| instance.globals.contains(&global));
        if !needed && !blocks {
            return Ok(joining);
        }
        let passed = passed(namer)?;
        let mut functions = Vec::with_capacity(passed.len());
        for (function, number) in passed.into_iter().zip(0..) {
            functions.push(namer.export(&format!("$passed_{number}"), Exported::Function(function)));
            joining.passed.insert(function, number);
        }
        joining.calls = Some(Calls {
            functions,
            streams: blueprint.stream_tables.clone(),
            futures: blueprint.future_tables.clone(),
            results: blueprint.results.iter().map(|(number, result)| (*number, *result)).collect(),
            may_block: blocks.then(|| namer.export("$may_block", Exported::Global(global))),
        });
        Ok(joining)
    }

    /// The export that is a callback of the blueprint's.
    pub(super) fn callback(&self, callback: Option<usize>) -> Result<Option<String>> {
        named(&self.callbacks, callback)
    }

    /// The export that is a post-return function of the blueprint's.
    pub(super) fn post_return(&self, post_return: Option<usize>) -> Result<Option<String>> {
        named(&self.post_returns, post_return)
    }
}

/// The functions that adapters refer to, which is for nothing but to pass them to the host.
fn passed(namer: &Namer<'_>) -> Result<Vec<Func>> {
    let (mut passed, mut known) = (Vec::new(), HashSet::new());
    for (number, instance) in namer.linked.instances.iter().enumerate() {
        if !namer.blueprint.is_adapter(number) {
            continue;
        }
        for body in &namer.linked.module(number)?.bodies {
            let mut operators = body.get_operators_reader()?;
            while !operators.eof() {
                let Operator::RefFunc { function_index } = operators.read()? else { continue };
                let function = namer.shims.resolve(at(&instance.functions, function_index)?);
                if known.insert(function) {
                    passed.push(function);
                }
            }
        }
    }
    Ok(passed)
}

fn export(
    namer: &mut Namer<'_>,
    base: &str,
    list: &[Def],
    index: Option<usize>,
    names: &mut BTreeMap<usize, String>,
) -> Result<()> {
    let Some(index) = index.filter(|index| !names.contains_key(index)) else { return Ok(()) };
    let def = list.get(index).ok_or_else(|| internal("a function of a call is out of range"))?;
    let function = namer.shims.resolve(namer.linked.function_def(*def)?);
    names.insert(index, namer.export(&format!("{base}_{index}"), Exported::Function(function)));
    Ok(())
}

fn named(names: &BTreeMap<usize, String>, index: Option<usize>) -> Result<Option<String>> {
    let name = |index| names.get(&index).cloned().ok_or_else(|| internal("a function of a call has no name"));
    index.map(name).transpose()
}
