//! Takes out the shims that component tools put between a core module and its imports.
//!
//! A core module's imports must exist before its memory does, and lowering them needs that memory. So tools import
//! functions of a shim module that call through a table, and fill the table once the memory exists. In one flattened
//! module all of that is known beforehand: whoever calls such a function calls its target instead, and the functions
//! and the table disappear.
//!
//! One thing changes: a call that a start function makes before the table is filled reaches its target, where
//! natively it traps.

use std::collections::{HashMap, HashSet};

use wasmparser::{ElementItems, ElementKind, FunctionBody, Operator};

use crate::blueprint::Host;
use crate::error::{Result, internal};
use crate::link::{Const, Func, Linked, at};
use crate::module::Module;

/// The largest table that is looked into: a shim has one element for each function it stands for.
const MAX_SHIMS: u64 = 4096;

/// What is taken out.
#[derive(Debug, Default)]
pub(crate) struct Shims {
    targets: HashMap<Func, Func>,
    tables: HashSet<usize>,
    /// A core instance of which nothing is left.
    instance: Option<usize>,
}

/// A function that calls through a table and does nothing else.
#[derive(Debug, Clone, Copy)]
struct Thunk {
    /// In the module's index space.
    table: u32,
    element: u32,
}

impl Shims {
    /// Finds the tables that serve shims only.
    pub(crate) fn find(linked: &Linked<'_>, hosts: &[Host]) -> Result<Self> {
        let thunks = linked.modules.iter().map(find_thunks).collect::<Result<Vec<_>>>()?;
        let mut candidates = HashSet::new();
        for (number, instance) in linked.instances.iter().enumerate() {
            for thunk in thunks.get(instance.module).into_iter().flat_map(HashMap::values) {
                let table = at(&instance.tables, thunk.table)?;
                // The table is the shim's own, and nobody has given it content of its own.
                let origin = linked.tables.get(table).ok_or_else(|| internal("a table is out of range"))?;
                let defined = linked.module(origin.instance)?.tables.get(origin.index);
                if origin.instance == number && defined.is_some_and(|table| Module::table_init(table).is_none()) {
                    candidates.insert(table);
                }
            }
        }
        for (instance, thunks) in linked.instances.iter().zip(instances_of(linked, &thunks)) {
            if candidates.is_empty() {
                break;
            }
            if instance.tables.iter().any(|table| candidates.contains(table)) {
                let module =
                    linked.modules.get(instance.module).ok_or_else(|| internal("an instance has no module"))?;
                for table in tables_used(module, thunks)? {
                    candidates.remove(&at(&instance.tables, table)?);
                }
            }
        }
        let mut shims = Shims::default();
        let contents = contents(linked, &candidates)?;
        let mut sorted: Vec<usize> = candidates.into_iter().collect();
        sorted.sort_unstable();
        for table in sorted {
            if let Some(targets) = targets(linked, hosts, table, &thunks, contents.get(&table))? {
                shims.targets.extend(targets);
                shims.tables.insert(table);
            }
        }
        // Shims that lead to each other in a circle call nothing in the end; such a component keeps its tables.
        let circular = shims.targets.keys().any(|thunk| shims.follow(*thunk).is_none());
        Ok(if circular { Shims::default() } else { shims })
    }

    /// What a call of `function` calls.
    pub(crate) fn resolve(&self, function: Func) -> Func {
        self.follow(function).unwrap_or(function)
    }

    fn follow(&self, function: Func) -> Option<Func> {
        let mut function = function;
        for _ in 0..=self.targets.len() {
            match self.targets.get(&function) {
                Some(target) => function = *target,
                None => return Some(function),
            }
        }
        None
    }

    /// Has calls of `function` go to `target`, which nothing has calls go to.
    pub(crate) fn replace(&mut self, function: Func, target: Func) {
        self.targets.insert(function, target);
    }

    /// Takes a core instance out, of which nothing is used that is not replaced.
    pub(crate) fn drop_instance(&mut self, instance: usize) {
        self.instance = Some(instance);
    }

    /// Whether a core instance is taken out.
    pub(crate) fn drops_instance(&self, instance: usize) -> bool {
        self.instance == Some(instance)
    }

    /// Whether a core instance only fills tables that are taken out.
    pub(crate) fn fills_tables_only(&self, linked: &Linked<'_>, instance: usize) -> Result<bool> {
        let module = linked.module(instance)?;
        let tables = &linked.instance(instance)?.tables;
        Ok(module.bodies.is_empty() && module.start.is_none() && tables.iter().all(|table| self.drops_table(*table)))
    }

    /// Whether the function is a shim, or of an instance that is taken out, so that it is not emitted.
    pub(crate) fn drops_function(&self, function: Func) -> bool {
        let gone = matches!(function, Func::Defined { instance, .. } if self.drops_instance(instance));
        gone || self.targets.contains_key(&function)
    }

    /// Whether the table, by position in [`Linked::tables`], is not emitted.
    pub(crate) fn drops_table(&self, table: usize) -> bool {
        self.tables.contains(&table)
    }
}

type Thunks = HashMap<u32, Thunk>;

fn instances_of<'t>(linked: &Linked<'_>, thunks: &'t [Thunks]) -> Vec<Option<&'t Thunks>> {
    linked.instances.iter().map(|instance| thunks.get(instance.module)).collect()
}

/// The thunks of a module, by position among its bodies.
fn find_thunks(module: &Module<'_>) -> Result<Thunks> {
    let mut found = HashMap::new();
    for (body, position) in module.bodies.iter().zip(0..) {
        let ty = at(&module.functions, module.imported_functions + position)?;
        if let Some(thunk) = thunk(module, body, ty)? {
            found.insert(position, thunk);
        }
    }
    Ok(found)
}

/// `local.get 0 .. local.get n; i32.const k; call_indirect`, with the function's own type.
fn thunk(module: &Module<'_>, body: &FunctionBody<'_>, ty: u32) -> Result<Option<Thunk>> {
    let params = module.types.get(ty as usize).ok_or_else(|| internal("a function has no type"))?.params().len();
    if body.get_locals_reader()?.get_count() != 0 {
        return Ok(None);
    }
    let mut operators = body.get_operators_reader()?;
    for param in 0..params {
        match operators.read()? {
            Operator::LocalGet { local_index } if local_index as usize == param => {}
            _ => return Ok(None),
        }
    }
    let Operator::I32Const { value } = operators.read()? else { return Ok(None) };
    if operators.eof() {
        return Ok(None);
    }
    let Operator::CallIndirect { type_index, table_index } = operators.read()? else { return Ok(None) };
    let same = type_index == ty || module.types.get(type_index as usize) == module.types.get(ty as usize);
    let ends = !operators.eof() && matches!(operators.read()?, Operator::End) && operators.eof();
    Ok((same && ends).then_some(Thunk { table: table_index, element: value.cast_unsigned() }))
}

/// The tables, in the module's index space, that code other than the given thunks uses.
fn tables_used(module: &Module<'_>, thunks: Option<&Thunks>) -> Result<HashSet<u32>> {
    let mut used = HashSet::new();
    for (body, position) in module.bodies.iter().zip(0_u32..) {
        if thunks.is_some_and(|thunks| thunks.contains_key(&position)) {
            continue;
        }
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            match operators.read()? {
                Operator::CallIndirect { table_index: table, .. }
                | Operator::TableGet { table }
                | Operator::TableSet { table }
                | Operator::TableSize { table }
                | Operator::TableGrow { table }
                | Operator::TableFill { table }
                | Operator::TableInit { table, .. } => {
                    used.insert(table);
                }
                Operator::TableCopy { dst_table, src_table } => {
                    used.extend([dst_table, src_table]);
                }
                _ => {}
            }
        }
    }
    Ok(used)
}

/// What active segments write to the tables; nothing for a table that one writes past the end of.
fn contents(linked: &Linked<'_>, tables: &HashSet<usize>) -> Result<HashMap<usize, Vec<Option<Func>>>> {
    let mut contents = HashMap::new();
    for table in tables {
        let origin = linked.tables.get(*table).ok_or_else(|| internal("a table is out of range"))?;
        let defined = linked.module(origin.instance)?.tables.get(origin.index);
        if let Some(size) = defined.map(|table| table.ty.initial).filter(|size| *size <= MAX_SHIMS) {
            contents.insert(*table, vec![None; usize::try_from(size).unwrap_or(0)]);
        }
    }
    for (number, instance) in linked.instances.iter().enumerate() {
        for element in &linked.module(number)?.elements {
            let ElementKind::Active { table_index, offset_expr } = &element.kind else { continue };
            let table = at(&instance.tables, table_index.unwrap_or(0))?;
            if !contents.contains_key(&table) {
                continue;
            }
            let offset = linked.fold_offset(number, offset_expr)?.cast_unsigned() as usize;
            let functions = items(linked, number, &element.items)?;
            let range = offset.checked_add(functions.len()).map(|end| offset..end);
            match range.and_then(|range| contents.get_mut(&table)?.get_mut(range)) {
                Some(slots) => slots.copy_from_slice(&functions),
                None => {
                    contents.remove(&table);
                }
            }
        }
    }
    Ok(contents)
}

/// The functions of an element segment; `None` for a null.
fn items(linked: &Linked<'_>, instance: usize, items: &ElementItems<'_>) -> Result<Vec<Option<Func>>> {
    let mut functions = Vec::new();
    match items {
        ElementItems::Functions(indices) => {
            for index in indices.clone() {
                functions.push(Some(at(&linked.instance(instance)?.functions, index?)?));
            }
        }
        ElementItems::Expressions(_, exprs) => {
            for expr in exprs.clone() {
                functions.push(match linked.fold(instance, &expr?)? {
                    Const::Func(function) => Some(function),
                    _ => None,
                });
            }
        }
    }
    Ok(functions)
}

/// The target of each thunk of a table; `None` if one would trap, so that the table has to stay.
fn targets(
    linked: &Linked<'_>,
    hosts: &[Host],
    table: usize,
    thunks: &[Thunks],
    contents: Option<&Vec<Option<Func>>>,
) -> Result<Option<Vec<(Func, Func)>>> {
    let mut found = Vec::new();
    for (number, instance) in linked.instances.iter().enumerate() {
        let module = linked.module(number)?;
        let Some(thunks) = thunks.get(instance.module) else { continue };
        for (body, thunk) in thunks {
            if at(&instance.tables, thunk.table)? != table {
                continue;
            }
            let Some(Some(target)) = contents.and_then(|contents| contents.get(thunk.element as usize)) else {
                return Ok(None);
            };
            let ty = module.function_type(module.imported_functions + body)?;
            if !linked.has_type(hosts, *target, ty)? {
                return Ok(None);
            }
            found.push((Func::Defined { instance: number, body: *body }, *target));
        }
    }
    Ok(Some(found))
}
