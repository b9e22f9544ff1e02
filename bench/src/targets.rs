//! What wharf aims at, and whether a run found it.

use serde::Serialize;

use crate::compare::{Measure, NO_GUEST};
use crate::report::{Failure, Row};

/// The least or the most that is aimed at.
#[derive(Debug, Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// What counts of a comparison.
#[derive(Debug, Clone, Copy)]
enum Value {
    /// The ratio of its sides.
    Ratio,
    /// The median of its first side.
    First,
}

/// What is aimed at: in a measure, a guest and one of its quantities, for each of these servers, beside the best of those.
struct Target {
    measure: Measure,
    guest: &'static str,
    quantity: usize,
    servers: &'static [&'static str],
    beside: &'static [&'static str],
    value: Value,
    bound: Bound,
}

const MAIN: &[&str] = &["wharf wasmtime"];
const OTHERS: &[&str] = &["wharf wasmer", "wharf wasmedge"];
const ALL: &[&str] = &["wharf wasmtime", "wharf wasmer", "wharf wasmedge"];
const REUSED: &[&str] = &["wharf wasmtime, reused", "wharf wasmer, reused", "wharf wasmedge, reused"];
const PEER: &[&str] = &["wasmtime"];
const PEER_AT_BEST: &[&str] = &["wasmtime", "wasmtime, tuned"];
const PEER_REUSED: &[&str] = &["wasmtime, reused"];
const CONCURRENT: &[&str] = &["wharf wasmtime, concurrent"];
const PEER_CONCURRENT: &[&str] = &["wasmtime, concurrent"];

const fn target(
    measure: Measure,
    guest: &'static str,
    servers: &'static [&'static str],
    beside: &'static [&'static str],
    bound: Bound,
) -> Target {
    Target { measure, guest, quantity: 0, servers, beside, value: Value::Ratio, bound }
}

use Bound::{AtLeast, AtMost};
use Measure::{ColdStart, FirstStart, Resident, Throughput, Version};

const TARGETS: [Target; 19] = [
    target(Throughput, "hello", MAIN, PEER_AT_BEST, AtLeast(4.0)),
    target(Throughput, "js", MAIN, PEER_AT_BEST, AtLeast(4.0)),
    target(Throughput, "python", MAIN, PEER_AT_BEST, AtLeast(4.0)),
    target(Throughput, "hello", OTHERS, MAIN, AtLeast(0.5)),
    target(Throughput, "js", OTHERS, MAIN, AtLeast(0.5)),
    target(Throughput, "python", OTHERS, MAIN, AtLeast(0.5)),
    target(Throughput, "hello", REUSED, PEER_REUSED, AtLeast(1.5)),
    target(Throughput, "hello", REUSED, &["native hyper"], AtLeast(0.75)),
    target(Throughput, "js", &["wharf wasmtime, reused"], MAIN, AtLeast(1.0)),
    target(Throughput, "js", &["wharf wasmer, reused"], &["wharf wasmer"], AtLeast(1.0)),
    target(Throughput, "js", &["wharf wasmedge, reused"], &["wharf wasmedge"], AtLeast(1.0)),
    target(Throughput, "service", MAIN, PEER, AtLeast(2.0)),
    target(Throughput, "service", OTHERS, MAIN, AtLeast(0.5)),
    target(Throughput, "service", CONCURRENT, PEER_CONCURRENT, AtLeast(1.0)),
    target(ColdStart, "hello", ALL, PEER, AtMost(1.0)),
    target(ColdStart, "js", ALL, PEER, AtMost(1.0)),
    target(FirstStart, "js", ALL, PEER, AtMost(1.0)),
    target(Resident, "hello", ALL, PEER, AtMost(1.5)),
    Target { value: Value::First, ..target(Version, NO_GUEST, &["wharf"], PEER, AtMost(5.0)) },
];

/// Whether a run found what is aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Met,
    Missed,
    Failed,
    NotMeasured,
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "**missed**",
            Self::Failed => "**failed**",
            Self::NotMeasured => "not measured",
        }
    }
}

/// What is aimed at for one server, and what was found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    pub(crate) what: String,
    pub(crate) target: String,
    /// With what it is measured beside, and the spread.
    pub(crate) measured: String,
    pub(crate) verdict: Verdict,
}

/// A finding for each target and server.
pub(crate) fn findings(rows: &[Row], failures: &[Failure]) -> Vec<Finding> {
    let each = TARGETS.iter().flat_map(|target| target.servers.iter().map(move |server| (target, *server)));
    each.map(|(target, server)| find(target, server, rows, failures)).collect()
}

fn find(target: &Target, server: &str, rows: &[Row], failures: &[Failure]) -> Finding {
    let quantity = target.measure.quantities()[target.quantity];
    let value = |row: &Row| match target.value {
        Value::Ratio => row.pairs.ratio.median,
        Value::First => row.pairs.a,
    };
    let matching = rows.iter().filter(|row| {
        row.measure == target.measure
            && row.guest == target.guest
            && row.quantity == quantity
            && row.a == server
            && target.beside.contains(&row.b.as_str())
    });
    // The best of the peers is the one that wharf is furthest from.
    let worst = match target.bound {
        AtLeast(_) => matching.min_by(|x, y| value(x).total_cmp(&value(y))),
        AtMost(_) => matching.max_by(|x, y| value(x).total_cmp(&value(y))),
    };
    let failed = failures.iter().find(|failure| {
        target
            .beside
            .iter()
            .any(|beside| failure.name == format!("{} {}: {server} / {beside}", target.measure.name(), target.guest))
    });
    let unit = match target.value {
        Value::Ratio => "x".to_owned(),
        Value::First => format!(" {}", quantity.unit),
    };
    let beside = target.beside.join(" or ");
    let guest = if target.guest == NO_GUEST { String::new() } else { format!(", {}", target.guest) };
    let what = match target.value {
        Value::Ratio => format!("{}{guest}: {server} / {beside}, {}", target.measure.name(), quantity.name),
        Value::First => format!("{}{guest}: {server}, {}", target.measure.name(), quantity.name),
    };
    let (measured, verdict) = match (worst, failed) {
        (_, Some(failure)) => (failure.reason.clone(), Verdict::Failed),
        (None, None) => ("-".to_owned(), Verdict::NotMeasured),
        (Some(row), None) => {
            let met = match target.bound {
                AtLeast(least) => value(row) >= least,
                AtMost(most) => value(row) <= most,
            };
            let measured = match target.value {
                Value::Ratio => {
                    let spread = row.pairs.ratio;
                    let beside = if target.beside.len() > 1 { format!(", beside {}", row.b) } else { String::new() };
                    format!("{:.2}x ({:.2} to {:.2}){beside}", spread.median, spread.least, spread.most)
                }
                Value::First => format!("{:.1}{unit}", value(row)),
            };
            (measured, if met { Verdict::Met } else { Verdict::Missed })
        }
    };
    let target = match target.bound {
        AtLeast(least) => format!("at least {least}{unit}"),
        AtMost(most) => format!("at most {most}{unit}"),
    };
    Finding { what, target, measured, verdict }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::Pairs;

    fn row(measure: Measure, guest: &str, a: &str, b: &str, pair: (f64, f64)) -> Row {
        let quantity = measure.quantities()[0];
        Row {
            measure,
            guest: guest.into(),
            quantity,
            a: a.into(),
            b: b.into(),
            rate: None,
            pairs: Pairs::new(vec![pair]),
        }
    }

    fn found<'a>(findings: &'a [Finding], what: &str) -> &'a Finding {
        findings.iter().find(|finding| finding.what.starts_with(what)).unwrap()
    }

    #[test]
    fn what_counts_is_the_better_of_the_peers() {
        let hello = |b: &str, rate| row(Throughput, "hello", "wharf wasmtime", b, (rate, 1.0));
        let findings = findings(&[hello("wasmtime", 4.5), hello("wasmtime, tuned", 3.9), hello("jco", 1.0)], &[]);
        let first = found(&findings, "throughput, hello: wharf wasmtime / wasmtime");
        assert_eq!(
            (first.measured.as_str(), first.verdict),
            ("3.90x (3.90 to 3.90), beside wasmtime, tuned", Verdict::Missed)
        );
        assert_eq!(first.target, "at least 4x");
        assert_eq!(found(&findings, "throughput, js").verdict, Verdict::NotMeasured);
    }

    #[test]
    fn what_takes_less_is_met() {
        let rows = [
            row(ColdStart, "js", "wharf wasmer", "wasmtime", (90.0, 100.0)),
            row(Version, NO_GUEST, "wharf", "wasmtime", (4.0, 1.0)),
        ];
        let findings = findings(&rows, &[]);
        assert_eq!(found(&findings, "cold start, js: wharf wasmer").verdict, Verdict::Met);
        let version = found(&findings, "version");
        assert_eq!((version.measured.as_str(), version.target.as_str()), ("4.0 ms", "at most 5 ms"));
        assert_eq!(version.verdict, Verdict::Met);
    }

    #[test]
    fn a_side_that_fails_has_not_met_it() {
        let failure = Failure {
            name: "throughput js: wharf wasmer, reused / wharf wasmer".into(),
            reason: "an answer has status 500".into(),
        };
        let findings = findings(&[], &[failure]);
        let reused = found(&findings, "throughput, js: wharf wasmer, reused");
        assert_eq!((reused.measured.as_str(), reused.verdict), ("an answer has status 500", Verdict::Failed));
    }
}
