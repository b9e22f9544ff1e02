//! What of an instance changes while it runs, but for its memories: whether it can be put back, and by which exports.

use wasm_encoder::reencode::{Error as Reencoding, Reencode, RoundtripReencoder};
use wasm_encoder::{ConstExpr, ExportKind, ExportSection, GlobalSection, GlobalType, Module, RawSection, ValType};
use wasmparser::{GlobalSectionReader, Operator, Parser, Payload};

use crate::backend::Instance;
use crate::error::{Error, Kind, Result};
use crate::prepare::Prepared;

/// The exported global that says how many globals there are to be put back.
const COUNT: &str = "$wharf.globals";
/// More globals than this take longer to be put back than it takes to make an instance.
const MAX_GLOBALS: usize = 4096;

/// The sections that come after that of exports: of elements, of the data count, of code, of data. A prepared module has no
/// start section.
const ELEMENTS: [u8; 4] = [9, 12, 10, 11];

/// The export of the `nth` global that changes.
fn export(nth: usize) -> String {
    format!("$wharf.global.{nth}")
}

/// What a module changes, as far as it has been read.
#[derive(Default)]
pub(crate) struct State {
    /// The globals that change.
    globals: Vec<u32>,
    /// Whether something changes that cannot be put back from outside.
    lasting: bool,
}

impl State {
    /// Reads the module's globals. Values of numbers only can be read and written from outside.
    pub(crate) fn globals(
        &mut self,
        section: GlobalSectionReader<'_>,
    ) -> std::result::Result<(), wasmparser::BinaryReaderError> {
        use wasmparser::ValType::{F32, F64, I32, I64};
        for (index, global) in (0..).zip(section) {
            let ty = global?.ty;
            if ty.mutable {
                self.lasting |= !matches!(ty.content_type, I32 | I64 | F32 | F64);
                self.globals.push(index);
            }
        }
        Ok(())
    }

    /// Notes whether an instruction changes a table, or what a later instruction finds of a segment. Without the first,
    /// dropped elements are not missed by any.
    pub(crate) fn note(&mut self, operator: &Operator<'_>) {
        self.lasting |= matches!(
            operator,
            Operator::TableSet { .. }
                | Operator::TableGrow { .. }
                | Operator::TableFill { .. }
                | Operator::TableCopy { .. }
                | Operator::TableInit { .. }
                | Operator::DataDrop { .. }
        );
    }

    /// Has a module export what changes, with `added` globals of numbers that have been added to it; nothing if all cannot
    /// be put back.
    pub(crate) fn export(&self, added: &[u32], globals: &mut GlobalSection, exports: &mut ExportSection) {
        let changing = self.globals.len() + added.len();
        if self.lasting || changing > MAX_GLOBALS {
            return;
        }
        for (nth, index) in self.globals.iter().chain(added).enumerate() {
            exports.export(&export(nth), ExportKind::Global, *index);
        }
        exports.export(COUNT, ExportKind::Global, globals.len());
        let ty = GlobalType { val_type: ValType::I32, mutable: false, shared: false };
        globals.global(ty, &ConstExpr::i32_const(changing as i32));
    }
}

/// The globals of a new instance, to be put back into one that has been used.
pub(super) struct Globals(Vec<(String, u64)>);

impl Globals {
    /// Reads them; `None` if other things change, too.
    pub(super) fn of(instance: &mut dyn Instance) -> Option<Self> {
        let count = instance.global(COUNT)? as usize;
        (0..count).map(|nth| Some((export(nth), instance.global(&export(nth))?))).collect::<Option<_>>().map(Globals)
    }

    /// Puts them back; false if one cannot be written.
    pub(super) fn put_back(&self, instance: &mut dyn Instance) -> bool {
        self.0.iter().all(|(export, value)| instance.set_global(export, *value))
    }
}

/// What an engine is to compile of a prepared module whose instances an [`Imaged`](super::Imaged) puts back, if nothing else
/// is changed in it: it exports what changes.
///
/// # Errors
/// [`Kind::Internal`] if the module cannot be read.
pub fn expose(prepared: &Prepared) -> Result<Vec<u8>> {
    exposed(prepared.wasm()).map_err(|error| {
        Error::new(Kind::Internal, "exporting what a prepared module changes failed").with_source(error.to_string())
    })
}

fn exposed(wasm: &[u8]) -> std::result::Result<Vec<u8>, Reencoding> {
    let mut state = State::default();
    let (mut globals, mut exports) = (GlobalSection::new(), ExportSection::new());
    let mut sections = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::GlobalSection(section) => {
                state.globals(section.clone())?;
                RoundtripReencoder.parse_global_section(&mut globals, section)?;
            }
            Payload::ExportSection(section) => RoundtripReencoder.parse_export_section(&mut exports, section)?,
            Payload::CodeSectionEntry(body) => {
                for operator in body.get_operators_reader()? {
                    state.note(&operator?);
                }
            }
            other => sections.extend(other.as_section()),
        }
    }
    state.export(&[], &mut globals, &mut exports);
    let mut module = Module::new();
    // Of the sections that may be there, these two come right before that of elements.
    let before = sections.iter().position(|(id, _)| ELEMENTS.contains(id)).unwrap_or(sections.len());
    let (first, last) = sections.split_at(before);
    let copy = |module: &mut Module, sections: &[(u8, std::ops::Range<usize>)]| {
        for (id, range) in sections {
            module.section(&RawSection { id: *id, data: &wasm[range.clone()] });
        }
    };
    copy(&mut module, first);
    module.section(&globals).section(&exports);
    copy(&mut module, last);
    Ok(module.finish())
}
