//! `wharf compile`.

use std::fs;
use std::path::Path;

use anyhow::Context;
use wharf_component::{FlattenOptions, flatten};

use crate::args::{CompileArgs, Emit, Usage};
use crate::commands::images;
use crate::commands::load::Loading;
use crate::console::Console;
use crate::exit;

pub(crate) fn compile(args: &CompileArgs, console: Console) -> anyhow::Result<u8> {
    match (args.emit, &args.out) {
        (Emit::Core, Some(out)) => emit_core(args, out, console),
        (Emit::Core, None) => {
            Err(Usage("--output is missing: name the file to write the core module to".to_owned()).into())
        }
        (Emit::Cache, None) if !args.cache.no_cache => {
            let loading = Loading::new(&args.backend, &args.host, &args.load, &args.cache, &args.images);
            loading.fill_cache(&args.file, console)?;
            Ok(exit::SUCCESS)
        }
        (Emit::Cache, _) => Err(Usage("--emit cache cannot be used with --output or --no-cache".to_owned()).into()),
    }
}

fn emit_core(args: &CompileArgs, out: &Path, console: Console) -> anyhow::Result<u8> {
    let options =
        FlattenOptions { keep_names: args.names, keep_adapter: args.host.keep_adapter, ..FlattenOptions::default() };
    let component = images::guest(&args.file, options.max_component_bytes, &args.images, None, console)?;
    let flattened = flatten(&component, &options).with_context(|| format!("`{}`", args.file.display()))?;
    fs::write(out, &flattened.wasm).with_context(|| format!("cannot write `{}`", out.display()))?;
    tracing::info!(
        "{}: {} imports, {} exports, {} memories, {} tables, {} bytes",
        out.display(),
        flattened.plan.imports.len(),
        flattened.plan.exports.len(),
        flattened.plan.memory_count,
        flattened.plan.tables,
        flattened.wasm.len()
    );
    Ok(exit::SUCCESS)
}
