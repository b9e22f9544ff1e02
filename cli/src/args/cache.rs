//! The options that say where compiled code is kept, and those of `wharf cache`.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Subcommand;

use super::OutputArgs;
use super::values;

/// How a guest is loaded.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Compiled code")]
pub(crate) struct CacheArgs {
    #[command(flatten)]
    pub(crate) cache: CacheSizeArgs,

    /// Always compile, and neither read nor write the cache
    #[arg(long, conflicts_with_all = ["cache_dir", "cache_size"])]
    pub(crate) no_cache: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Compiled code")]
pub(crate) struct CacheSizeArgs {
    #[command(flatten)]
    pub(crate) dir: CacheDirArgs,

    /// How large the cache may be; the least recently used entries are removed first
    #[arg(long, value_name = "SIZE", value_parser = values::room, default_value = "2GiB")]
    pub(crate) cache_size: ByteSize,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Compiled code")]
pub(crate) struct CacheDirArgs {
    /// Where compiled code is kept between runs; nobody else may be able to write to this directory or replace it
    /// [default: `wharf/code` in the user's cache directory]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) cache_dir: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CacheCommandArgs {
    #[command(subcommand)]
    pub(crate) command: CacheCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// List the cached code, the most recently used first
    List(CacheListArgs),
    /// Remove all cached code, and no other files; guests are compiled again at their next start
    Clear(CacheDirArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CacheListArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) cache: CacheSizeArgs,
}
