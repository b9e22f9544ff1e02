//! `suite/bites/...`: that the suite notices when something is wrong. Each case is a saboteur.

use std::time::Duration;

use crate::case::{Case, CaseResult, Outcome, Unmet};
use crate::cases::cases;
use crate::cases::needs::INTERRUPT;
use crate::context::Context;
use crate::runner::{Options, execute};
use crate::saboteur::Sabotage;
use crate::{check, check_eq};

const PROVES: &str = "the suite: saboteurs are caught";

/// The cases of this area, a slice for each file.
pub const CASES: &[&[Case]] = &[&[
    Case::must("suite/bites/dropped-header", PROVES, |c| bites(c, Sabotage::DropHeader)),
    Case::must("suite/bites/followed-denied-redirect", PROVES, |c| bites(c, Sabotage::FollowDenied)),
    Case::must("suite/bites/cut-body", PROVES, |c| bites(c, Sabotage::CutBody)),
    Case::must("suite/bites/ignored-deadline", PROVES, |c| bites(c, Sabotage::IgnoreDeadline)).needs(&[INTERRUPT]),
    Case::must("suite/bites/leaked-handle", PROVES, |c| bites(c, Sabotage::LeakHandle)),
    Case::must("suite/bites/write-past-out-pointer", PROVES, |c| bites(c, Sabotage::WritePastStatus)),
    Case::must("suite/bites/guest-goes-on", PROVES, |c| bites(c, Sabotage::IgnoreHalt)),
    Case::must("suite/bites/blurred-traps", PROVES, |c| bites(c, Sabotage::BlurTraps)),
]];

/// Each case that watches for the sabotage passes without it and fails with it.
fn bites(context: &Context, sabotage: Sabotage) -> CaseResult {
    let options = Options { timeout: Duration::from_secs(8), expected: Vec::new(), ..Options::default() };
    let saboteur = sabotage.apply(context.subject());
    let watching: Vec<&Case> = cases().into_iter().filter(|case| sabotage.noticed_by().contains(&case.id)).collect();
    check_eq!(watching.len(), sabotage.noticed_by().len(), "the count of cases that watch for {sabotage:?}");
    for case in watching {
        let honest = execute(case, context.subject(), &options);
        if honest.outcome != Outcome::Pass {
            return Err(Unmet::Failed(format!(
                "{} cannot notice {sabotage:?}: without it, it ends with {} ({})",
                case.id,
                honest.outcome.name(),
                honest.message.unwrap_or_default()
            )));
        }
        let caught = execute(case, &saboteur, &options);
        check!(
            caught.outcome == Outcome::Fail,
            "{} does not notice {sabotage:?}: it ends with {} ({})",
            case.id,
            caught.outcome.name(),
            caught.message.unwrap_or_default()
        );
    }
    Ok(())
}
