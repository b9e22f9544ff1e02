//! `wharf backends`.

use anstyle::Style;
use serde::Serialize;
use wharf::core::{Capability, chain};

use crate::args::{BackendsArgs, Format};
use crate::output::{BAD, FAINT, GOOD, HEADING, Table};
use crate::{exit, output};

/// A backend, as `--format json` prints it.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    default: bool,
    compiled_in: bool,
    /// The engine's version; none if it is not compiled in, or cannot be used here.
    engine_version: Option<String>,
    capabilities: Vec<&'static str>,
    /// Why it cannot be used here, though it is compiled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(crate) fn backends(args: &BackendsArgs) -> anyhow::Result<u8> {
    let listed: Vec<_> = wharf::KNOWN.into_iter().map(list).collect();
    match args.output.format {
        Format::Json => output::print_json(&listed)?,
        Format::Human => output::print(&table(&listed))?,
    }
    Ok(exit::SUCCESS)
}

fn list(name: &'static str) -> Listed {
    let (default, compiled_in) = (name == wharf::DEFAULT, wharf::is_compiled_in(name));
    let listed = Listed { name, default, compiled_in, engine_version: None, capabilities: Vec::new(), error: None };
    if !compiled_in {
        return listed;
    }
    match wharf::backend(name) {
        Ok(backend) => {
            let info = backend.info();
            let capabilities = info.capabilities.iter().copied().map(Capability::name).collect();
            Listed { engine_version: Some(info.engine_version.clone()), capabilities, ..listed }
        }
        Err(error) => Listed { error: Some(chain(&error)), ..listed },
    }
}

fn table(listed: &[Listed]) -> String {
    let plain = Style::new();
    let mut table = Table::default();
    table.row(["BACKEND", "ENGINE", "CAPABILITIES"].map(|heading| (heading.to_owned(), HEADING)));
    for backend in listed {
        let name = if backend.default { format!("{} (default)", backend.name) } else { backend.name.to_owned() };
        match (&backend.engine_version, &backend.error) {
            (Some(version), _) => {
                table.row([(name, GOOD), (version.clone(), plain), (backend.capabilities.join(", "), plain)]);
            }
            (None, Some(error)) => {
                table.row([(name, BAD), ("-".to_owned(), FAINT), (error.clone(), plain)]);
            }
            (None, None) => {
                let advice = format!("not compiled in; build with --features {}", backend.name);
                table.row([(name, FAINT), ("-".to_owned(), FAINT), (advice, FAINT)]);
            }
        }
    }
    table.render(0)
}

#[cfg(test)]
mod tests {
    use super::{Listed, table};

    #[test]
    fn a_backend_that_cannot_be_used_is_listed_with_the_reason() {
        let listed = |name, error: Option<&str>| Listed {
            name,
            default: false,
            compiled_in: true,
            engine_version: error.is_none().then(|| "1.2.3".to_owned()),
            capabilities: Vec::new(),
            error: error.map(str::to_owned),
        };
        let table = table(&[listed("first", None), listed("second", Some("its library is not there"))]);
        let second = table.lines().find(|line| line.contains("second")).expect("it is listed");
        assert!(second.contains("its library is not there"), "{table}");
    }
}
