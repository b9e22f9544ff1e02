//! `suite/bites/...`: that the suite notices when something is wrong. Each case is a saboteur.

use std::time::Duration;

use crate::case::{Case, CaseResult, Outcome, Unmet};
use crate::cases::cases;
use crate::cases::needs::INTERRUPT;
use crate::check;
use crate::context::Context;
use crate::runner::{Options, execute};
use crate::saboteur::Sabotage;

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
    Case::must("suite/bites/blurred-errnos", PROVES, |c| bites(c, Sabotage::BlurErrnos)),
    Case::must("suite/bites/swallowed-writes", PROVES, |c| bites(c, Sabotage::SwallowWrites)),
    Case::must("suite/bites/swallowed-sends", PROVES, |c| bites(c, Sabotage::SwallowSends)),
    Case::must("suite/bites/dropped-field", PROVES, |c| bites(c, Sabotage::DropField)),
    Case::must("suite/bites/forgotten-finish", PROVES, |c| bites(c, Sabotage::ForgetFinish)),
    Case::must("suite/bites/leaked-resource", PROVES, |c| bites(c, Sabotage::LeakResource)),
    Case::must("suite/bites/swallowed-stream", PROVES, |c| bites(c, Sabotage::SwallowStream)),
    Case::must("suite/bites/stream-left-open", PROVES, |c| bites(c, Sabotage::LeaveStreamOpen)),
    Case::must("suite/bites/forgotten-return", PROVES, |c| bites(c, Sabotage::ForgetReturn)),
    Case::must("suite/bites/late-first-byte-timeout", PROVES, |c| bites(c, Sabotage::LateFirstByte)),
]];

/// Each case that watches for the sabotage passes without it and fails with it.
fn bites(context: &Context, sabotage: Sabotage) -> CaseResult {
    let options = Options { timeout: Duration::from_secs(20), expected: Vec::new(), ..Options::default() };
    let saboteur = sabotage.apply(context.subject());
    let all = cases();
    for (id, words) in sabotage.noticed_by() {
        let case = all.iter().find(|case| case.id == *id);
        let case = case.ok_or_else(|| Unmet::failed(format!("there is no case {id} to notice {sabotage:?}")))?;
        let honest = execute(case, context.subject(), &options);
        if honest.outcome != Outcome::Pass {
            return Err(Unmet::Failed(format!(
                "{id} cannot notice {sabotage:?}: without it, it ends with {} ({})",
                honest.outcome.name(),
                honest.message.unwrap_or_default()
            )));
        }
        let caught = execute(case, &saboteur, &options);
        let message = caught.message.unwrap_or_default();
        check!(
            caught.outcome == Outcome::Fail && message.contains(words),
            "{id} does not notice {sabotage:?} by {words:?}: it ends with {} ({message})",
            caught.outcome.name(),
        );
    }
    Ok(())
}
