//! What the plan of a module says of its streams and futures.

use wharf_plan::{Passing, Payload, Plan, Type};

/// What a stream or future has in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element {
    /// Bytes of one value.
    pub(crate) size: u32,
    /// Its alignment.
    pub(crate) align: u32,
    /// Whether it is a number, or nothing: what a guest may pass to itself.
    pub(crate) plain: bool,
    /// Whether something of it lies elsewhere, where the guest's allocator puts it.
    pub(crate) realloc: bool,
    /// The type of a stream's or future's value in the plan.
    pub(crate) ty: Option<u32>,
}

impl Default for Element {
    /// No value at all.
    fn default() -> Self {
        Element { size: 0, align: 1, plain: true, realloc: false, ty: None }
    }
}

/// The elements of all streams and futures of a plan.
#[derive(Debug)]
pub(crate) struct Tables {
    streams: Vec<Element>,
    futures: Vec<Element>,
}

impl Tables {
    /// Those of a plan, whose types refer to earlier ones only. What a stranger's plan makes too large has the largest size,
    /// which fits into no memory.
    pub(crate) fn of(plan: &Plan) -> Self {
        let types = layouts(plan);
        let element = |payload: &Payload| Element { ty: payload.ty, ..optional(payload.ty, &types) };
        let list = |payloads: &[Payload]| payloads.iter().map(element).collect();
        Tables { streams: list(&plan.streams), futures: list(&plan.futures) }
    }

    /// What stream or future `table` has in it.
    pub(crate) fn element(&self, of: Passing, table: u32) -> Element {
        let list = match of {
            Passing::Stream => &self.streams,
            Passing::Future => &self.futures,
        };
        list.get(table as usize).copied().unwrap_or_default()
    }
}

/// How values of a plan's types lie in memory.
pub(crate) fn layouts(plan: &Plan) -> Vec<Element> {
    let mut types: Vec<Element> = Vec::with_capacity(plan.types.len());
    for ty in &plan.types {
        let element = element(ty, &types);
        types.push(element);
    }
    types
}

fn optional(ty: Option<u32>, types: &[Element]) -> Element {
    ty.and_then(|ty| types.get(ty as usize).copied()).unwrap_or_default()
}

fn element(ty: &Type, types: &[Element]) -> Element {
    let number = |size: u32| Element { size, align: size, plain: true, realloc: false, ty: None };
    let other = |size: u32| Element { plain: false, ..number(size) };
    let list = Element { size: 8, align: 4, plain: false, realloc: true, ty: None };
    let of = |ty: &u32| optional(Some(*ty), types);
    match ty {
        Type::S8 | Type::U8 => number(1),
        Type::S16 | Type::U16 => number(2),
        Type::S32 | Type::U32 | Type::F32 => number(4),
        Type::S64 | Type::U64 | Type::F64 => number(8),
        Type::Bool => other(1),
        Type::Char | Type::Own { .. } | Type::Borrow { .. } | Type::Stream { .. } | Type::Future { .. } => other(4),
        Type::String | Type::List { .. } => list,
        Type::Flags { names } => other(match names.len() {
            0..=8 => 1,
            9..=16 => 2,
            _ => 4,
        }),
        Type::Record { fields } => record(fields.iter().map(|(_, ty)| of(ty))),
        Type::Tuple { types } => record(types.iter().map(of)),
        Type::Enum { names } => variant(names.len(), std::iter::empty()),
        Type::Variant { cases } => variant(cases.len(), cases.iter().map(|(_, ty)| optional(*ty, types))),
        Type::Option { some } => variant(2, std::iter::once(of(some))),
        Type::Result { ok, err } => variant(2, [optional(*ok, types), optional(*err, types)].into_iter()),
    }
}

fn aligned(offset: u32, align: u32) -> u32 {
    offset.checked_next_multiple_of(align).unwrap_or(u32::MAX)
}

fn record(fields: impl Iterator<Item = Element>) -> Element {
    let mut all = Element { plain: false, ..Element::default() };
    for field in fields {
        all.size = aligned(all.size, field.align).saturating_add(field.size);
        all.align = all.align.max(field.align);
        all.realloc |= field.realloc;
    }
    all.size = aligned(all.size, all.align);
    all
}

fn variant(cases: usize, payloads: impl Iterator<Item = Element>) -> Element {
    let tag = match cases {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    };
    let mut all = Element { align: tag, plain: false, ..Element::default() };
    for payload in payloads {
        all.size = all.size.max(payload.size);
        all.align = all.align.max(payload.align);
        all.realloc |= payload.realloc;
    }
    all.size = aligned(aligned(tag, all.align).saturating_add(all.size), all.align);
    all
}
