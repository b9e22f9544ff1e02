//! A module's active segments: which become part of the image, and what is left of the module.
//!
//! Taken are those of every memory that is exported. That they are not copied in the module's order is not seen: no guest
//! code runs before an instance is made, and guests share no memory. If a segment does not fit into its memory none is
//! taken: the engine then refuses every instance, as it would have.
//!
//! Those of a memory are mapped if they have at least [`MIN_MAPPED`] bytes and lie close together: in at most [`MAX_RUNS`]
//! runs of pages, which are at most [`MAX_SPREAD`] times as large. So a module cannot have the host keep much more for it
//! than it has itself. Others are copied.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use wasm_encoder::{DataSection, Module, RawSection};
use wasmparser::{BinaryReaderError, Data, DataKind, ExternalKind, FunctionBody, Operator, Parser, Payload};

use super::memories::{Memory, Run};
use crate::error::{Error, Kind, Result};
use crate::growth::{PAGE, Space};
use crate::prepare::Prepared;

/// The least data for which mapping takes less than copying.
const MIN_MAPPED: u64 = 64 << 10;
/// Each run of pages is a mapping of its own, of which a process may have some 65,000.
const MAX_RUNS: usize = 32;
/// How many times the data's size the pages may take.
const MAX_SPREAD: u64 = 4;

/// What tables may take of an instance that is kept, in bytes: nothing is charged for it.
const MAX_TABLES: u64 = 1 << 20;

/// What becomes part of the image.
#[derive(Default)]
pub(super) struct Plan<'a> {
    /// All memories, unless a segment does not fit.
    memories: Vec<Planned<'a>>,
    complete: bool,
}

/// A memory, with the segments that are copied to it, in order.
struct Planned<'a> {
    export: Option<&'a str>,
    /// Its initial size in bytes.
    size: u64,
    segments: Vec<(u64, &'a [u8])>,
}

impl<'a> Plan<'a> {
    /// Reads a prepared module.
    pub(super) fn of(wasm: &'a [u8]) -> Result<Self> {
        Ok(Self::read(wasm).map_err(malformed)?.unwrap_or_default())
    }

    /// `None` if a segment does not fit.
    fn read(wasm: &'a [u8]) -> Result<Option<Self>, BinaryReaderError> {
        let mut memories: Vec<Planned<'_>> = Vec::new();
        let mut tables: u64 = 0;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::MemorySection(section) => {
                    for memory in section {
                        let size = memory?.initial.saturating_mul(PAGE);
                        memories.push(Planned { export: None, size, segments: Vec::new() });
                    }
                }
                Payload::TableSection(section) => {
                    for table in section {
                        tables = tables.saturating_add(Space::table(table?.ty.initial, 0).initial());
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        if export.kind == ExternalKind::Memory
                            && let Some(memory) = memories.get_mut(export.index as usize)
                        {
                            memory.export = Some(export.name);
                        }
                    }
                }
                Payload::DataSection(section) => {
                    for data in section {
                        let data = data?;
                        let Some((memory, offset)) = active(&data) else { continue };
                        let Some(memory) = memories.get_mut(memory as usize) else { return Ok(None) };
                        match offset {
                            Some(offset) if offset + data.data.len() as u64 <= memory.size => {
                                memory.segments.push((offset, data.data));
                            }
                            _ => return Ok(None),
                        }
                    }
                }
                _ => {}
            }
        }
        let complete = tables <= MAX_TABLES && memories.iter().all(|memory| memory.export.is_some());
        Ok(Some(Plan { memories, complete }))
    }

    /// Whether it has all that is in new memories, and an instance is not too large to be kept.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether the segments of a memory are taken.
    fn takes(&self, memory: u32) -> bool {
        self.memories.get(memory as usize).is_some_and(|planned| planned.export.is_some())
    }

    /// What is in each memory; `wasm` is what this was read from.
    pub(super) fn memories(&self, wasm: &Bytes) -> Vec<Memory> {
        self.memories.iter().filter_map(|planned| planned.memory(wasm)).collect()
    }

    /// The same for memories that are mapped, where they can be, and how many bytes are.
    pub(super) fn lay_out(&self, wasm: &Bytes) -> (Vec<Memory>, usize) {
        let mut memories = self.memories(wasm);
        let mut len = 0;
        for memory in &mut memories {
            len = memory.map(len);
        }
        (memories, len)
    }
}

impl Planned<'_> {
    /// What is in it, if it can be found.
    fn memory(&self, wasm: &Bytes) -> Option<Memory> {
        let mut data: Vec<(usize, Bytes)> = Vec::with_capacity(self.segments.len());
        let mut apart = true;
        for (offset, segment) in self.segments.iter().filter(|(_, segment)| !segment.is_empty()) {
            data.push((*offset as usize, wasm.slice_ref(segment)));
        }
        data.sort_by_key(|(offset, _)| *offset);
        for pair in data.windows(2) {
            apart &= pair[0].0 + pair[0].1.len() <= pair[1].0;
        }
        if !apart {
            data = self.merged();
        }
        Some(Memory { export: self.export?.to_owned(), size: self.size as usize, data, mapped: Vec::new() })
    }

    /// Its data, where what is copied later hides what was before.
    fn merged(&self) -> Vec<(usize, Bytes)> {
        let places = self.segments.iter().map(|(offset, data)| *offset..*offset + data.len() as u64);
        let mut merged: Vec<(usize, Vec<u8>)> = Vec::new();
        for place in joined(places.filter(|place| !place.is_empty()).collect()) {
            merged.push((place.start as usize, vec![0; (place.end - place.start) as usize]));
        }
        for (offset, data) in self.segments.iter().filter(|(_, data)| !data.is_empty()) {
            let offset = *offset as usize;
            let last = merged.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
            let (start, bytes) = &mut merged[last];
            let at = offset - *start;
            bytes[at..at + data.len()].copy_from_slice(data);
        }
        merged.into_iter().map(|(start, bytes)| (start, Bytes::from(bytes))).collect()
    }
}

impl Memory {
    /// Has it be mapped, if that takes less than copying, from a file of `len` bytes so far; returns how many it then has.
    fn map(&mut self, mut len: usize) -> usize {
        // A page of WebAssembly's is at least one of the system's.
        let page = PAGE as usize;
        let pages = self.data.iter().map(|(offset, data)| {
            let end = offset + data.len();
            (offset / page * page) as u64..end.next_multiple_of(page) as u64
        });
        let runs = joined(pages.collect());
        let (data, spread) = (self.data.iter().map(|(_, data)| data.len()).sum::<usize>() as u64, length(&runs));
        if data < MIN_MAPPED || runs.len() > MAX_RUNS || spread > data * MAX_SPREAD {
            return len;
        }
        for run in runs {
            let pages = run.start as usize..run.end as usize;
            self.mapped.push(Run { pages: pages.clone(), at: len });
            len += pages.len();
        }
        len
    }
}

fn length(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

/// The ranges in order, each as long as it can be.
fn joined(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// What an engine is to compile of a prepared module whose instances an [`Imaged`](super::Imaged) makes.
///
/// # Errors
/// [`Kind::Internal`](crate::Kind::Internal) if the module cannot be read.
pub fn strip(prepared: &Prepared) -> Result<Cow<'_, [u8]>> {
    let wasm = prepared.wasm();
    let plan = Plan::of(wasm)?;
    if plan.memories.iter().all(|memory| memory.segments.is_empty() || memory.export.is_none()) {
        return Ok(Cow::Borrowed(wasm));
    }
    without(wasm, &plan).map(Cow::Owned).map_err(malformed)
}

/// The module without the segments that are taken. If an instruction names segments, each keeps its index: in the place
/// of an active one, which nothing is left of once an instance is made, stands a passive one of no bytes.
fn without(wasm: &[u8], plan: &Plan<'_>) -> Result<Vec<u8>, BinaryReaderError> {
    let indexed = names_segments(wasm)?;
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::DataCountSection { .. } if !indexed => {}
            Payload::DataSection(section) => {
                let mut left = DataSection::new();
                for data in section {
                    let data = data?;
                    match active(&data) {
                        Some((memory, _)) if !plan.takes(memory) => left.raw(&wasm[data.range]),
                        None if indexed => left.raw(&wasm[data.range]),
                        _ if indexed => left.passive([]),
                        _ => continue,
                    };
                }
                module.section(&left);
            }
            other => {
                if let Some((id, range)) = other.as_section() {
                    module.section(&RawSection { id, data: &wasm[range] });
                }
            }
        }
    }
    Ok(module.finish())
}

/// Whether any instruction does.
fn names_segments(wasm: &[u8]) -> Result<bool, BinaryReaderError> {
    let in_body = |body: FunctionBody<'_>| {
        for operator in body.get_operators_reader()? {
            if matches!(operator?, Operator::MemoryInit { .. } | Operator::DataDrop { .. }) {
                return Ok(true);
            }
        }
        Ok(false)
    };
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::CodeSectionEntry(body) = payload?
            && in_body(body)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The memory that a segment is copied to, if it is, and where to. In a prepared module that is always a constant.
fn active(data: &Data<'_>) -> Option<(u32, Option<u64>)> {
    let DataKind::Active { memory_index, offset_expr } = &data.kind else { return None };
    let offset = match offset_expr.get_operators_reader().read() {
        Ok(Operator::I32Const { value }) => Some(u64::from(value.cast_unsigned())),
        _ => None,
    };
    Some((*memory_index, offset))
}

fn malformed(error: BinaryReaderError) -> Error {
    Error::new(Kind::Internal, "reading the segments of a prepared module failed").with_source(error)
}
