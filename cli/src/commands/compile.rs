//! `wharf compile`.

use std::fs;

use anyhow::Context;
use wharf_component::{FlattenOptions, flatten};

use crate::args::{CompileArgs, Emit};
use crate::commands::read_module;
use crate::exit;

pub(crate) fn compile(args: &CompileArgs) -> anyhow::Result<u8> {
    let options = FlattenOptions { keep_names: args.names, ..FlattenOptions::default() };
    let component = read_module(&args.file, options.max_component_bytes)?;
    let Emit::Core = args.emit;
    let flattened = flatten(&component, &options).with_context(|| format!("`{}`", args.file.display()))?;
    fs::write(&args.out, &flattened.wasm).with_context(|| format!("cannot write `{}`", args.out.display()))?;
    tracing::info!(
        "{}: {} imports, {} exports, {} memories, {} tables, {} bytes",
        args.out.display(),
        flattened.plan.imports.len(),
        flattened.plan.exports.len(),
        flattened.plan.memory_count,
        flattened.plan.tables,
        flattened.wasm.len()
    );
    Ok(exit::SUCCESS)
}
