//! What of a function's body the meter counts.

use wasmparser::{
    BinaryReaderError, FuncToValidate, FuncValidatorAllocations, FunctionBody, Operator, ValidatorResources,
};

use crate::image::State;

/// A function of no more instructions than this that calls nothing and has no loop is left as it is.
const TRIVIAL: u32 = 16;

pub(super) fn is_bulk(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::MemoryCopy { .. }
            | Operator::MemoryFill { .. }
            | Operator::MemoryInit { .. }
            | Operator::TableCopy { .. }
            | Operator::TableFill { .. }
            | Operator::TableGrow { .. }
            | Operator::TableInit { .. }
    )
}

/// No fewer than the values that an instruction of `bytes` bytes makes, but for the results of a call.
///
/// A constant or an access to a variable is one, whatever index or number it carries: initialisers of data that is to be
/// relocated are hundreds of thousands of them. Others make none that has no byte, be it for a case of a branch.
fn values(operator: &Operator<'_>, bytes: usize) -> u32 {
    match operator {
        Operator::I32Const { .. }
        | Operator::I64Const { .. }
        | Operator::F32Const { .. }
        | Operator::F64Const { .. }
        | Operator::LocalGet { .. }
        | Operator::LocalSet { .. }
        | Operator::LocalTee { .. }
        | Operator::GlobalGet { .. }
        | Operator::GlobalSet { .. } => 1,
        _ => u32::try_from(bytes).unwrap_or(u32::MAX),
    }
}

/// What counts in a function's body.
#[derive(Default)]
pub(super) struct Shape {
    /// Parameters and locals.
    pub(super) locals: u32,
    /// The most operands there are at a time.
    pub(super) height: u32,
    /// No fewer than the values that the code makes, but for the results of calls.
    pub(super) values: u32,
    pub(super) calls: u32,
    pub(super) bulk: u32,
    /// Instructions outside of loops.
    pub(super) work: u32,
    /// Of each loop, in order: instructions within it, but not within a loop in it.
    pub(super) loops: Vec<u32>,
}

impl Shape {
    /// Reads a body, and notes in `state` what it changes.
    pub(super) fn of(
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
        allocations: FuncValidatorAllocations,
        state: &mut State,
    ) -> Result<(Self, FuncValidatorAllocations), BinaryReaderError> {
        let mut validator = function.into_validator(allocations);
        validator.read_locals(&mut body.get_binary_reader())?;
        let mut shape = Shape { locals: validator.len_locals(), ..Shape::default() };
        // The loop that each open block lies in.
        let mut open: Vec<Option<usize>> = vec![None];
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            validator.op(offset, &operator)?;
            state.note(&operator);
            shape.values = shape.values.saturating_add(values(&operator, operators.original_position() - offset));
            shape.height = shape.height.max(validator.operand_stack_height());
            let inside = open.last().copied().flatten();
            match operator {
                Operator::Loop { .. } => {
                    open.push(Some(shape.loops.len()));
                    shape.loops.push(1);
                    continue;
                }
                Operator::Block { .. } | Operator::If { .. } => open.push(inside),
                Operator::End => drop(open.pop()),
                Operator::Call { .. } | Operator::CallIndirect { .. } => shape.calls += 1,
                _ if is_bulk(&operator) => shape.bulk += 1,
                _ => {}
            }
            match inside {
                Some(index) => shape.loops[index] += 1,
                None => shape.work += 1,
            }
        }
        Ok((shape, validator.into_allocations()))
    }

    /// Whether a function is worth counting. One that is not takes a bounded time and calls nothing.
    pub(super) fn is_metered(&self) -> bool {
        self.calls > 0 || self.bulk > 0 || !self.loops.is_empty() || self.work > TRIVIAL
    }
}
