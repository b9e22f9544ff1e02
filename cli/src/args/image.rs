//! The options of the commands about images.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use wharf_image::{Platform, Reference, Verify};

use super::values::{self, EnvEntry, FileGrant};

const PACKAGE_EXAMPLES: &str = "\
Examples:
  wharf package --tag example.com/app:1 -o app.tar app.wasm
  ctr image import app.tar
  wharf package --as artifact -o app/ app.wasm

The same guest and options always make the same image, byte for byte.";

#[derive(Debug, clap::Args)]
#[command(after_help = PACKAGE_EXAMPLES)]
pub(crate) struct PackageArgs {
    #[command(flatten)]
    pub(crate) content: ContentArgs,

    /// What the image is called once it is imported, for example `example.com/app:1`
    #[arg(long, value_name = "NAME")]
    pub(crate) tag: Option<String>,

    /// The file to write the image to, a tar that `ctr image import` takes; a directory, or a name that ends with `/`, is
    /// written to as an OCI layout
    #[arg(short, long = "output", value_name = "FILE", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) out: PathBuf,

    /// The guest, a WebAssembly module or component
    #[arg(help_heading = "Arguments", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) file: PathBuf,
}

const PUSH_EXAMPLES: &str = "\
Examples:
  wharf push app.wasm oci://registry.example.com/team/app:1.0
  wharf push --as artifact app.wasm oci://localhost:5000/app

It prints the image by its digest, which is what to serve or to verify. Credentials are those of `docker login`.";

#[derive(Debug, clap::Args)]
#[command(after_help = PUSH_EXAMPLES)]
pub(crate) struct PushArgs {
    #[command(flatten)]
    pub(crate) content: ContentArgs,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,

    /// The guest, a WebAssembly module or component
    #[arg(help_heading = "Arguments", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// Where to push it to: `oci://HOST/REPOSITORY:TAG`
    #[arg(help_heading = "Arguments", value_name = "IMAGE", value_parser = values::image)]
    pub(crate) image: Reference,
}

const PULL_EXAMPLES: &str = "\
Examples:
  wharf pull -o app.wasm oci://registry.example.com/team/app:1.0
  wharf pull --verify key=cosign.pub -o app.wasm oci://registry.example.com/team/app:1.0

It prints the image by its digest. Credentials are those of `docker login`.";

#[derive(Debug, clap::Args)]
#[command(after_help = PULL_EXAMPLES)]
pub(crate) struct PullArgs {
    #[command(flatten)]
    pub(crate) images: ImageArgs,

    /// The file to write the guest to
    #[arg(short, long = "output", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) out: PathBuf,

    /// The image: `oci://HOST/REPOSITORY`, with `:TAG` or `@sha256:...`
    #[arg(help_heading = "Arguments", value_name = "IMAGE", value_parser = values::image)]
    pub(crate) image: Reference,
}

/// How a guest is pulled that is an image in a registry.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Images")]
pub(crate) struct ImageArgs {
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,

    /// Refuse an image unless it has this digest, or is signed with the key in this PEM file, as `cosign sign --key` does;
    /// if repeated, all of them have to hold
    #[arg(long, value_name = "sha256:...|key=FILE", value_parser = values::verify)]
    pub(crate) verify: Vec<Verify>,
}

/// How a registry is asked.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Images")]
pub(crate) struct RegistryArgs {
    /// Ask registries, and whom they name, over HTTP without TLS; on this machine (`localhost`, or a loopback address) they
    /// always are
    #[arg(long)]
    pub(crate) plain_http: bool,

    /// How long a registry may take to give or to take an image
    #[arg(long, value_name = "TIME", value_parser = values::period, default_value = "10m")]
    pub(crate) registry_timeout: Duration,
}

/// What an image is made of, beside the guest.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Image")]
pub(crate) struct ContentArgs {
    /// How the guest is packed
    #[arg(long = "as", value_name = "SHAPE", value_enum, default_value_t = ShapeArg::Image)]
    pub(crate) shape: ShapeArg,

    /// Make the image for a platform; may be repeated, all share the files [default: wasi/wasm, linux/amd64, linux/arm64]
    #[arg(long, value_name = "OS/ARCH", value_parser = values::platform)]
    pub(crate) platform: Vec<Platform>,

    /// Pass an argument to the guest; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) arg: Vec<String>,

    /// Set an environment variable for the guest; NAME alone passes on wharf's own, if it is set; may be repeated
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = values::env_entry)]
    pub(crate) env: Vec<EnvEntry>,

    /// Say that the guest serves on a port; may be repeated
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Vec<u16>,

    /// Add a file, or a directory with all files in it, under its own or another absolute path; may be repeated
    #[arg(long = "file", value_name = "HOST[::PATH]", value_parser = values::file_grant)]
    #[arg(value_hint = clap::ValueHint::AnyPath)]
    pub(crate) files: Vec<FileGrant>,

    /// Add a label to the image's configuration; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::pair)]
    pub(crate) label: Vec<(String, String)>,

    /// Add an annotation to the image's manifest; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::pair)]
    pub(crate) annotation: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShapeArg {
    /// An OCI artifact whose one layer is the guest, as `wkg` reads and writes it
    Artifact,
    /// An ordinary image whose entrypoint is the guest, as containerd and Docker unpack it
    Image,
}
