//! The templates of `wharf new`, compiled in from `guests/templates`, and the SDKs that they bring along. Both are found in
//! `embedded`, as links.
//!
//! A template is a directory named as its language, with the release of WASI behind it where there is one for 0.3. Its
//! `template.toml` says how its project is built and run; every other file is written to the project, with what is in
//! double braces replaced.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::Deserialize;

/// Every file: its path, as `template.toml` speaks of it, and its content.
static EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// What describes a template.
const DESCRIPTION: &str = "template.toml";

/// What `template.toml` says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Template {
    /// What the project is, in one line.
    pub(crate) summary: String,
    /// What has to be installed.
    pub(crate) needs: Option<String>,
    /// The command that builds the project, in its directory.
    pub(crate) build: String,
    /// The command that runs what was built.
    pub(crate) run: String,
    /// What shows that it runs, from another terminal.
    #[serde(rename = "try")]
    pub(crate) attempt: Option<String>,
    /// What is written to the project besides the template's own files.
    #[serde(default, rename = "copy")]
    copies: Vec<Copied>,
    /// Where its files are.
    #[serde(skip)]
    directory: String,
}

/// A directory that is copied into a project.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Copied {
    /// The directory: `sdk/...`, `rust/sdk`, `wit`, `wit/0.3` or one of another template. What is in directories below it is
    /// copied of an SDK only.
    from: String,
    /// Where to, in the project.
    to: String,
    /// Whether this is the SDK, which `--sdk` takes from elsewhere instead.
    #[serde(default)]
    sdk: bool,
    /// What is replaced in its files, and by what.
    #[serde(default)]
    replace: BTreeMap<String, String>,
}

/// A project that is to be written.
pub(crate) struct Project {
    /// The files: their path in the project, and their content.
    pub(crate) files: Vec<(String, Vec<u8>)>,
    pub(crate) build: String,
    pub(crate) run: String,
    pub(crate) attempt: Option<String>,
}

/// The release of WASI that a project is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wasi {
    /// WASI 0.2; where the language's template is a program, preview 1
    #[value(name = "0.2")]
    Preview2,
    /// WASI 0.3
    #[value(name = "0.3")]
    Preview3,
}

impl Wasi {
    /// What the directory of a template for it has behind the language.
    fn suffix(self) -> &'static str {
        match self {
            Wasi::Preview2 => "",
            Wasi::Preview3 => "-0.3",
        }
    }
}

/// The languages that there is a template for.
pub(crate) fn languages(wasi: Wasi) -> impl Iterator<Item = &'static str> {
    let directories = EMBEDDED
        .iter()
        .filter_map(|(path, _)| path.strip_prefix("templates/")?.strip_suffix(DESCRIPTION)?.strip_suffix('/'));
    directories.filter_map(move |directory| match directory.strip_suffix(Wasi::Preview3.suffix()) {
        Some(language) => (wasi == Wasi::Preview3).then_some(language),
        None => (wasi == Wasi::Preview2).then_some(directory),
    })
}

impl Template {
    /// The template of a language.
    ///
    /// # Errors
    /// If there is none for that release of WASI, or it is not well-formed: a test sees to that.
    pub(crate) fn of(language: &str, wasi: Wasi) -> anyhow::Result<Self> {
        let directory = format!("templates/{language}{}", wasi.suffix());
        let path = format!("{directory}/{DESCRIPTION}");
        let Some((_, text)) = EMBEDDED.iter().find(|(of, _)| *of == path) else {
            let others = languages(wasi).collect::<Vec<_>>().join(", ");
            bail!("there is no template in `{language}` for this release of WASI; there is one in {others}");
        };
        let mut template: Template = toml::from_str(str::from_utf8(text)?).with_context(|| path.clone())?;
        template.directory = directory;
        for copied in &template.copies {
            if below(&copied.from).next().is_none() {
                bail!("{path}: there is nothing in `{}`", copied.from);
            }
        }
        Ok(template)
    }

    /// The project of this name. `sdk` is a directory that has the SDK; without it, the project brings a copy along.
    ///
    /// # Errors
    /// If `sdk` is given and the template has no SDK; if a file of the template names a value that does not exist.
    pub(crate) fn project(&self, name: &str, sdk: Option<&str>) -> anyhow::Result<Project> {
        let own = self.copies.iter().find(|copied| copied.sdk);
        if sdk.is_some() && own.is_none() {
            bail!("{}: a project of this template has no SDK: leave --sdk out", self.directory);
        }
        let ident = name.replace('-', "_");
        let mut values = BTreeMap::from([("name", name.to_owned()), ("ident", ident)]);
        if let Some(sdk) = sdk.or(own.map(|copied| copied.to.as_str())) {
            values.insert("sdk", sdk.to_owned());
        }
        let build = fill(&self.build, &values)?;
        let run = fill(&self.run, &values)?;
        let attempt = self.attempt.as_deref().map(|attempt| fill(attempt, &values)).transpose()?;
        values.extend([("build", build.clone()), ("run", run.clone())]);
        values.extend(attempt.clone().map(|attempt| ("try", attempt)));

        let mut files = Vec::new();
        for (path, content) in below(&self.directory).filter(|(path, _)| *path != DESCRIPTION) {
            let content = match str::from_utf8(content) {
                Ok(text) => fill(text, &values).with_context(|| format!("{}/{path}", self.directory))?.into_bytes(),
                Err(_) => content.to_vec(),
            };
            files.push((path.to_owned(), content));
        }
        for copied in self.copies.iter().filter(|copied| !(copied.sdk && sdk.is_some())) {
            for (path, content) in below(&copied.from).filter(|(path, _)| copied.sdk || !path.contains('/')) {
                let mut content = content.to_vec();
                if !copied.replace.is_empty() {
                    let mut text = String::from_utf8(content).with_context(|| format!("{}/{path}", copied.from))?;
                    for (what, by) in &copied.replace {
                        text = text.replace(what, by);
                    }
                    content = text.into_bytes();
                }
                files.push((format!("{}/{path}", copied.to), content));
            }
        }
        Ok(Project { files, build, run, attempt })
    }
}

/// The files below a directory, by their path from there.
fn below(directory: &str) -> impl Iterator<Item = (&'static str, &'static [u8])> {
    EMBEDDED
        .iter()
        .filter_map(move |(path, content)| Some((path.strip_prefix(directory)?.strip_prefix('/')?, *content)))
}

/// The text with `{{key}}` replaced by what `values` has for it. Double braces around anything but a word stay.
fn fill(text: &str, values: &BTreeMap<&str, String>) -> anyhow::Result<String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let (before, after) = rest.split_at(start);
        filled.push_str(before);
        let key = after[2..].split_once("}}").map(|(key, _)| key).filter(|key| is_word(key));
        let Some(key) = key else {
            filled.push_str("{{");
            rest = &after[2..];
            continue;
        };
        filled.push_str(values.get(key).with_context(|| format!("there is nothing for `{{{{{key}}}}}`"))?);
        rest = &after[key.len() + 4..];
    }
    filled.push_str(rest);
    Ok(filled)
}

fn is_word(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_template_makes_a_project() {
        let of = |wasi| languages(wasi).map(move |language| (language, wasi));
        assert!(languages(Wasi::Preview3).all(|language| languages(Wasi::Preview2).any(|other| other == language)));
        assert_eq!(languages(Wasi::Preview3).collect::<Vec<_>>(), ["js", "python", "rust"]);
        for (language, wasi) in of(Wasi::Preview2).chain(of(Wasi::Preview3)) {
            let template = Template::of(language, wasi).unwrap_or_else(|error| panic!("{language}: {error:#}"));
            let project = template.project("my-guest", None).unwrap_or_else(|error| panic!("{language}: {error:#}"));
            assert!(project.run.starts_with("wharf "), "{language}: {}", project.run);
            let mut paths: Vec<&str> = project.files.iter().map(|(path, _)| path.as_str()).collect();
            paths.sort_unstable();
            paths.dedup();
            assert_eq!(paths.len(), project.files.len(), "{language}: a file is written twice");
            assert!(!paths.contains(&DESCRIPTION));
            // A directory there would be a package of its own.
            assert!(!paths.iter().any(|path| path.starts_with("wit/deps/0.3/")), "{language}: {paths:?}");
        }
    }

    #[test]
    fn every_file_of_the_tree_is_embedded() {
        fn count(directory: &Path) -> usize {
            let entries =
                std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
            let paths = entries.map(|entry| entry.unwrap().path());
            // What building in place leaves behind.
            let built = ["target", "node_modules", "build", "dist", "__pycache__", ".venv"];
            let built = |path: &Path| built.iter().any(|name| path.ends_with(name));
            paths.filter(|path| !built(path)).map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let sources = [
            ("guests/templates", "templates"),
            ("guests/sdk", "sdk"),
            ("guests/rust/sdk", "rust/sdk"),
            ("core/wit", "wit"),
        ];
        for (source, name) in sources {
            assert_eq!(
                below(name).count(),
                count(&root.join(source)),
                "cli/embedded lacks a link to a file of {source}"
            );
        }
    }

    #[test]
    fn an_sdk_from_elsewhere_is_not_copied() {
        let template = Template::of("rust", Wasi::Preview2).unwrap();
        let own = template.project("guest", None).unwrap();
        let elsewhere = template.project("guest", Some("/sdk")).unwrap();
        assert!(own.files.iter().any(|(path, _)| path.starts_with("vendor/")));
        assert!(!elsewhere.files.iter().any(|(path, _)| path.starts_with("vendor/")));
        let (_, manifest) = elsewhere.files.iter().find(|(path, _)| path == "Cargo.toml").unwrap();
        assert!(str::from_utf8(manifest).unwrap().contains(r#"path = "/sdk/wharf-guest""#));
    }

    #[test]
    fn braces_of_the_language_stay() {
        let values = BTreeMap::from([("name", "x".to_owned())]);
        assert_eq!(fill("{{name}} {{ name }} {{{name}}} {{", &values).unwrap(), "x {{ name }} {{{name}}} {{");
        assert!(fill("{{other}}", &values).is_err());
    }
}
