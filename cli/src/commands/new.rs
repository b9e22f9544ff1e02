//! `wharf new`: writes a project that builds and runs with the commands it prints.

use std::fmt::Write;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::{Context, bail};

use crate::args::NewArgs;
use crate::output::{FAINT, HEADING, styled};
use crate::templates::{Template, Wasi, languages};
use crate::{exit, output};

pub(crate) fn new(args: &NewArgs) -> anyhow::Result<u8> {
    let (Some(language), Some(name)) = (&args.lang, &args.name) else { return list() };
    let template = Template::of(language, args.wasi)?;
    let sdk = args.sdk.as_deref().map(sdk_path).transpose()?;
    let project = template.project(name, sdk.as_deref())?;
    let directory = Path::new(name);
    make_directory(directory)?;
    for (path, content) in &project.files {
        write(&directory.join(path), content)?;
    }

    let mut text = format!("`{name}` is {}.\n", template.summary);
    if let Some(needs) = &template.needs {
        writeln!(text, "It needs {needs}.")?;
    }
    writeln!(text, "\n    cd {name}")?;
    writeln!(text, "    {}", styled(HEADING, &project.build))?;
    writeln!(text, "    {}", styled(HEADING, &project.run))?;
    if let Some(attempt) = &project.attempt {
        writeln!(text, "\nThen, from another terminal:\n\n    {attempt}")?;
    }
    output::print(&text)?;
    Ok(exit::SUCCESS)
}

fn list() -> anyhow::Result<u8> {
    let mut text = String::new();
    for language in languages(Wasi::Preview2) {
        writeln!(text, "{language:<20} {}", styled(FAINT, Template::of(language, Wasi::Preview2)?.summary))?;
    }
    for language in languages(Wasi::Preview3) {
        let named = format!("{language} --wasi 0.3");
        writeln!(text, "{named:<20} {}", styled(FAINT, Template::of(language, Wasi::Preview3)?.summary))?;
    }
    output::print(&text)?;
    Ok(exit::SUCCESS)
}

/// The path of an SDK as a project can name it from wherever it lies.
fn sdk_path(path: &Path) -> anyhow::Result<String> {
    let full = path.canonicalize().with_context(|| format!("--sdk: cannot find `{}`", path.display()))?;
    let text = full.into_os_string().into_string().ok();
    // It is written into files of several languages, between double quotes.
    text.filter(|path| !path.contains(['"', '\\', '\n', '{', '}'])).with_context(|| {
        format!("--sdk: `{}` has characters that cannot be written into a project; move it", path.display())
    })
}

fn make_directory(path: &Path) -> anyhow::Result<()> {
    match fs::create_dir(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(|| format!("cannot make the directory `{}`", path.display())),
    }
    let cannot = || format!("`{}` exists and is not a usable directory; choose another name", path.display());
    if fs::read_dir(path).with_context(cannot)?.next().is_some() {
        bail!("the directory `{}` is not empty; choose another name", path.display());
    }
    Ok(())
}

/// Writes a new file. A script can be executed.
fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let cannot = || format!("cannot write `{}`", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(cannot)?;
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if content.starts_with(b"#!") {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o777);
    }
    options.open(path).and_then(|mut file| file.write_all(content)).with_context(cannot)
}
