//! What the command is asked for.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, bail};
use clap::Parser;

/// Compares `wharf serve` with its peers, in pairs; prints tables, and writes them with JSON and a plot.
///
/// Each comparison measures its two sides in turn (A B, B A, A B, ...); what counts is the median of the ratios of the
/// pairs. The load comes from this process and shares the machine with the servers.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// The `wharf` to measure [default: the one beside this command]
    #[arg(long, value_name = "FILE")]
    pub(crate) wharf: Option<PathBuf>,

    /// Which of its backends, separated by commas; others are compared with the first [default: all it has]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) backend: Vec<String>,

    /// A server to compare with; may be repeated. `setup/peers.sh` installs some and prints these options
    ///
    /// For `wasmtime`, `wash`, `jco` and `wasmedge`, COMMAND is the program, and how it serves is known. For any other
    /// NAME it is the whole command, with `{addr}`, or `{host}` and `{port}`, and `{guest}` where they belong. It is
    /// split as a shell would, may begin with its environment (`VARIABLE=VALUE`), and runs in an empty directory. Each
    /// request is taken to have a fresh instance.
    #[arg(long, value_name = "NAME=COMMAND")]
    pub(crate) peer: Vec<Named>,

    /// Like --peer, for a server whose instances answer many requests each
    #[arg(long, value_name = "NAME=COMMAND")]
    pub(crate) reusing_peer: Vec<Named>,

    /// A guest to serve: `hello`, `core`, `js`, `python`, `sockets`, or a `wasi:http` component in a file, whose answer
    /// to `GET /` has status 200 and a body; may be repeated [default: all five]
    #[arg(long, value_name = "NAME[=FILE]")]
    pub(crate) guest: Vec<Asked>,

    /// Which measurements, by a part of their names, separated by commas [default: all but those of hostile guests,
    /// which are `growth` and `guests`]
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    pub(crate) only: Vec<String>,

    /// How many connections ask at the same time
    #[arg(long, value_name = "N", default_value = "32")]
    pub(crate) connections: NonZero<usize>,

    /// How many seconds each side is asked in each pair; twice as long at a fixed rate
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) seconds: f64,

    /// How many pairs there are of each comparison
    #[arg(long, value_name = "N", default_value = "5")]
    pub(crate) pairs: NonZero<usize>,

    /// The fixed rate at which latency is measured: requests a second, or a part of what the slower side can do
    #[arg(long, value_name = "N|N%", default_value = "50%")]
    pub(crate) rate: Rate,

    /// Where `bench.md`, `bench.json` and `bench.svg` are written
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub(crate) output: PathBuf,

    /// Also write the tables to this file, and the plot beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,

    /// Be the native server
    #[arg(long, value_name = "ADDR", hide = true)]
    pub(crate) native: Option<SocketAddr>,
}

/// A name and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl FromStr for Named {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                Ok(Named { name: name.to_owned(), value: value.to_owned() })
            }
            _ => bail!("expected NAME=VALUE"),
        }
    }
}

/// A guest that is asked for: one that is known, or one in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Known(String),
    File(Named),
}

impl FromStr for Asked {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if text.contains('=') { text.parse().map(Asked::File) } else { Ok(Asked::Known(text.to_owned())) }
    }
}

/// How fast requests are sent, whether answers come or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rate {
    /// Requests a second.
    Fixed(f64),
    /// A part of what the slower of two servers answers.
    Part(f64),
}

impl Rate {
    /// Requests a second, for two servers that answer so many.
    pub(crate) fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Rate::Fixed(rate) => rate,
            Rate::Part(part) => a.min(b) * part,
        }
    }
}

impl FromStr for Rate {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (number, percent) = match text.strip_suffix('%') {
            Some(number) => (number, true),
            None => (text, false),
        };
        let number: f64 = number.parse().context("expected a number, or a percentage")?;
        if !(number.is_finite() && number > 0.0) {
            bail!("the rate must be more than 0");
        }
        Ok(if percent { Rate::Part(number / 100.0) } else { Rate::Fixed(number) })
    }
}

fn seconds(text: &str) -> anyhow::Result<f64> {
    let seconds: f64 = text.parse()?;
    if !(seconds > 0.0 && seconds <= 3600.0) {
        bail!("expected a number of seconds, more than 0 and at most 3600");
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_what_they_stand_for() {
        let named = Named { name: "x".to_owned(), value: "y --z=1".to_owned() };
        assert_eq!("x=y --z=1".parse::<Named>().unwrap(), named);
        for wrong in ["", "x", "x=", "=y"] {
            assert!(wrong.parse::<Named>().is_err(), "{wrong}");
        }
        assert_eq!("js".parse::<Asked>().unwrap(), Asked::Known("js".to_owned()));
        assert!(matches!("js=/x".parse::<Asked>().unwrap(), Asked::File(file) if file.value == "/x"));
        assert!("js=".parse::<Asked>().is_err());
    }

    #[test]
    fn rates_are_fixed_or_parts_of_the_slower() {
        assert_eq!("250".parse::<Rate>().unwrap().of(10.0, 20.0), 250.0);
        assert_eq!("50%".parse::<Rate>().unwrap().of(300.0, 200.0), 100.0);
        for wrong in ["", "%", "0", "-1", "0%", "inf", "NaN", "x"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let parse = |args: &[&str]| Args::try_parse_from([&["wharf-bench"], args].concat());
        let args = parse(&["--peer", "a=b {addr}", "--guest", "js", "--pairs", "3", "--seconds", "0.1"]).unwrap();
        assert_eq!((args.peer.len(), args.guest.len(), args.pairs.get()), (1, 1, 3));
        for wrong in
            [["--pairs", "0"], ["--connections", "0"], ["--seconds", "0"], ["--seconds", "NaN"], ["--peer", "wasmtime"]]
        {
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
    }
}
