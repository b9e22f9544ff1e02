//! `wharf package`, and what `wharf push` packs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read};
use std::path::Path;

use anyhow::{Context, bail};
use wharf::core::LoadOptions;
use wharf_image::{Image, Package, Shape};

use crate::args::{ContentArgs, EnvEntry, FileGrant, PackageArgs, ShapeArg, Usage};
use crate::commands::{env_value, read_module};
use crate::{exit, output};

pub(crate) fn package(args: &PackageArgs) -> anyhow::Result<u8> {
    let image = build(&args.content, &args.file)?;
    let tag = args.tag.as_deref();
    if args.out.is_dir() || args.out.as_os_str().as_encoded_bytes().ends_with(b"/") {
        image.write_directory(tag, &args.out)?;
    } else {
        let written = File::create(&args.out).and_then(|file| image.write_tar(tag, BufWriter::new(file)));
        written.with_context(|| format!("cannot write `{}`", args.out.display()))?;
    }
    output::print(&format!("{}\n", image.root().digest))?;
    Ok(exit::SUCCESS)
}

/// The image of the guest at `path`.
pub(super) fn build(args: &ContentArgs, path: &Path) -> anyhow::Result<Image> {
    let limit = LoadOptions::default().max_module_bytes;
    let bytes = fs::metadata(path).with_context(|| format!("cannot read `{}`", path.display()))?.len();
    if bytes > limit {
        bail!("`{}` has {bytes} bytes; a guest may have {limit}", path.display());
    }
    let wasm = read_module(path, limit)?;
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("`{}`: the name of the file is not UTF-8", path.display()))?;
    let shape = match args.shape {
        ShapeArg::Artifact => Shape::Artifact,
        ShapeArg::Image => Shape::Image,
    };
    let mut package = Package::new(name, wasm, shape).max_guest_bytes(limit);
    for platform in &args.platform {
        package = package.platform(platform.clone());
    }
    for arg in &args.arg {
        package = package.arg(arg);
    }
    for entry @ EnvEntry { name, .. } in &args.env {
        if let Some(value) = env_value(entry)? {
            package = package.env(name, &value);
        }
    }
    for port in &args.port {
        package = package.port(*port);
    }
    for (path, content) in files(&args.files)? {
        package = package.file(path, content);
    }
    for (name, value) in &args.label {
        package = package.label(name, value);
    }
    for (name, value) in &args.annotation {
        package = package.annotation(name, value);
    }
    Ok(package.build()?)
}

/// The files that were named, and those in the directories that were, by their paths in the image.
fn files(grants: &[FileGrant]) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut room = Package::MAX_FILES;
    for FileGrant { host, path } in grants {
        let mut left = vec![(host.clone(), path.trim_end_matches('/').to_owned())];
        while let Some((host, path)) = left.pop() {
            let failed = || format!("--file: cannot read `{}`", host.display());
            let kind = fs::symlink_metadata(&host).with_context(failed)?.file_type();
            if kind.is_dir() {
                for entry in fs::read_dir(&host).with_context(failed)? {
                    let name = entry.with_context(failed)?.file_name();
                    let inner = host.join(&name);
                    let Some(name) = name.to_str() else {
                        bail!("--file: the name of `{}` is not UTF-8", inner.display());
                    };
                    left.push((inner, format!("{path}/{name}")));
                }
            } else if kind.is_file() {
                let content = read(&host, room).with_context(failed)?;
                let Some(content) = content else {
                    let most = Package::MAX_FILES;
                    bail!(
                        "--file: with `{}`, the files have more than {most} bytes, the most that is possible",
                        host.display()
                    );
                };
                room -= content.len() as u64;
                if files.insert(path.clone(), content).is_some() {
                    return Err(Usage(format!("--file: two files have the path `{path}` in the image")).into());
                }
            } else {
                bail!("--file: `{}` is neither a file nor a directory; name what it leads to", host.display());
            }
        }
    }
    Ok(files)
}

/// What a file has; `None` if that is more than `limit` bytes, which are then not kept.
fn read(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let file = File::open(path)?;
    if file.metadata()?.len() > limit {
        return Ok(None);
    }
    let mut content = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    Ok(Some(content).filter(|content| content.len() as u64 <= limit))
}
