//! Counts what a component would become, before anything is built from it.
//!
//! Instantiation multiplies: ten nested components that each instantiate the next one twice are a thousand. So this
//! walks the structure once and counts with arithmetic, where translation would count by doing.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef, Instance,
    Parser, Payload,
};

use crate::declared::Declared;
use crate::error::{Feature, FlattenError, Result, internal, unsupported};
use crate::options::FlattenOptions;

/// How many imports, functions and globals there may be, for which linking holds an entry each. A small file can ask for
/// many: a module with a million imports, instantiated a thousand times.
const MAX_ITEMS: u64 = 1 << 24;

/// A component being read.
#[derive(Default)]
struct Scope {
    /// How many instances each component of the index space leads to; `None` where only instantiation can tell.
    components: Vec<Option<u64>>,
    /// How many instances an instance of this component leads to, itself included.
    instances: u64,
}

/// Refuses a component that nothing else could read safely: nested deeper than `options` allow, cut off, or with types
/// that [`Declared`] refuses. `wasm` need not be valid otherwise: validation says so later.
pub(crate) fn outline(wasm: &[u8], options: &FlattenOptions) -> Result<()> {
    let limit = u64::from(options.max_nesting);
    let mut found = 1_u64;
    let mut declared = Declared::default();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload {
            Ok(Payload::ModuleSection { unchecked_range, .. } | Payload::ComponentSection { unchecked_range, .. }) => {
                found += 1;
                // Validation reads what is there and does not miss the rest.
                if unchecked_range.end > wasm.len() {
                    let offset = unchecked_range.start as u64;
                    let message = "the file is truncated: a section extends past the end of the file".to_owned();
                    return Err(FlattenError::Invalid { offset, message }.into());
                }
            }
            Ok(Payload::ComponentTypeSection(section)) => {
                let range = section.range();
                if let Some(bytes) = wasm.get(range.clone()) {
                    declared.walk(bytes, range.start)?;
                }
            }
            Ok(Payload::End(_)) => found = found.saturating_sub(1),
            Ok(_) => {}
            Err(_) => break,
        }
        // A core module lies one level below the innermost component.
        if found > limit + 1 {
            return Err(FlattenError::Limit { what: "levels of nested components", found, limit }.into());
        }
    }
    Ok(())
}

/// Refuses a component that leads to more instances than `options` allow. `wasm` is valid.
pub(crate) fn check(wasm: &[u8], options: &FlattenOptions) -> Result<()> {
    // Core modules open a level of the parser too; they hold nothing that counts here.
    let mut scopes: Vec<Option<Scope>> = vec![Some(Scope { instances: 1, ..Scope::default() })];
    // The items of the module being read, and of the one that has most.
    let (mut items, mut largest) = (0, 0);
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ModuleSection { .. } => {
                items = 0;
                scopes.push(None);
            }
            Payload::ImportSection(section) => items += u64::from(section.count()),
            Payload::FunctionSection(section) => items += u64::from(section.count()),
            Payload::GlobalSection(section) => items += u64::from(section.count()),
            Payload::ComponentSection { .. } => {
                scopes.push(Some(Scope { instances: 1, ..Scope::default() }));
            }
            Payload::End(_) => {
                let ended = scopes.pop().ok_or_else(|| internal("a component ends twice"))?;
                match (ended, scopes.last_mut()) {
                    (Some(scope), Some(Some(outer))) => outer.components.push(Some(scope.instances)),
                    (Some(scope), _) => {
                        within(scope.instances, options)?;
                        let found = scope.instances.saturating_mul(largest);
                        if found > MAX_ITEMS {
                            let what = "items in its core modules, counted as if each were the largest";
                            return Err(FlattenError::Limit { what, found, limit: MAX_ITEMS }.into());
                        }
                    }
                    (None, _) => largest = largest.max(items),
                }
            }
            Payload::InstanceSection(section) => {
                let mut count = 0;
                for instance in section {
                    count += u64::from(matches!(instance?, Instance::Instantiate { .. }));
                }
                current(&mut scopes)?.add(count, options)?;
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section {
                    let ComponentInstance::Instantiate { component_index, .. } = instance? else { continue };
                    let inside = scopes.iter().flatten().count() > 1;
                    let scope = current(&mut scopes)?;
                    let known = *scope
                        .components
                        .get(component_index as usize)
                        .ok_or_else(|| internal("a component index is out of range"))?;
                    let count = known.ok_or_else(|| {
                        if inside {
                            let item = format!(
                                "an inner component instantiates its component {component_index}, which is an argument"
                            );
                            unsupported(Feature::ComponentArguments, item)
                        } else {
                            let item =
                                format!("it instantiates component {component_index}, which comes from an import");
                            unsupported(Feature::FirstClassComponents, item)
                        }
                    })?;
                    scope.add(count, options)?;
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    if let ComponentTypeRef::Component(_) = import?.ty {
                        current(&mut scopes)?.components.push(None);
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Component {
                        let scope = current(&mut scopes)?;
                        let same = scope.components.get(export.index as usize).copied().flatten();
                        scope.components.push(same);
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    let count = match alias? {
                        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => None,
                        ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => scopes
                            .len()
                            .checked_sub(count as usize + 1)
                            .and_then(|scope| scopes.get(scope)?.as_ref()?.components.get(index as usize).copied())
                            .flatten(),
                        _ => continue,
                    };
                    current(&mut scopes)?.components.push(count);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

impl Scope {
    fn add(&mut self, count: u64, options: &FlattenOptions) -> Result<()> {
        self.instances = self.instances.saturating_add(count);
        within(self.instances, options)
    }
}

fn within(found: u64, options: &FlattenOptions) -> Result<()> {
    let limit = u64::from(options.max_instances);
    if found <= limit {
        return Ok(());
    }
    Err(FlattenError::Limit { what: "instances", found, limit }.into())
}

fn current(scopes: &mut [Option<Scope>]) -> Result<&mut Scope> {
    scopes.last_mut().and_then(Option::as_mut).ok_or_else(|| internal("a component's section lies in a module"))
}
