//! `wharf backends`.

use anstyle::Style;
use serde::Serialize;
use wharf::core::Capability;

use crate::args::{BackendsArgs, Format};
use crate::output::{FAINT, GOOD, HEADING, Table};
use crate::{backend, exit, output};

/// A backend, as `--format json` prints it.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    default: bool,
    compiled_in: bool,
    /// The engine's version; none if it is not compiled in.
    engine_version: Option<String>,
    capabilities: Vec<&'static str>,
}

pub(crate) fn backends(args: &BackendsArgs) -> anyhow::Result<u8> {
    let listed = wharf::KNOWN.into_iter().map(list).collect::<anyhow::Result<Vec<_>>>()?;
    match args.output.format {
        Format::Json => output::print_json(&listed)?,
        Format::Human => output::print(&table(&listed))?,
    }
    Ok(exit::SUCCESS)
}

fn list(name: &'static str) -> anyhow::Result<Listed> {
    let default = name == wharf::DEFAULT;
    if !wharf::is_compiled_in(name) {
        return Ok(Listed { name, default, compiled_in: false, engine_version: None, capabilities: Vec::new() });
    }
    let backend = backend::named(name)?;
    let info = backend.info();
    Ok(Listed {
        name,
        default,
        compiled_in: true,
        engine_version: Some(info.engine_version.clone()),
        capabilities: info.capabilities.iter().copied().map(Capability::name).collect(),
    })
}

fn table(listed: &[Listed]) -> String {
    let plain = Style::new();
    let mut table = Table::default();
    table.row(["BACKEND", "ENGINE", "CAPABILITIES"].map(|heading| (heading.to_owned(), HEADING)));
    for backend in listed {
        let name = if backend.default { format!("{} (default)", backend.name) } else { backend.name.to_owned() };
        match &backend.engine_version {
            Some(version) => {
                table.row([(name, GOOD), (version.clone(), plain), (backend.capabilities.join(", "), plain)]);
            }
            None => {
                let advice = format!("not compiled in; build with --features {}", backend.name);
                table.row([(name, FAINT), ("-".to_owned(), FAINT), (advice, FAINT)]);
            }
        }
    }
    table.render(0)
}
