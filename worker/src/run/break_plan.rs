//! The plan for the break of a run.

use agents::adapter::Capabilities;
use domain::vocabulary::Trigger;

/// Requested ways to the break, as far as the agent supports them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BreakPlan {
    /// Whether the agent compacts by itself when its context is full.
    pub(crate) by_itself: bool,
    /// Whether the program's own threshold is lowered for one turn once the context has reached its
    /// size.
    pub(crate) forced: bool,
    /// Whether the program's own compact command is used.
    pub(crate) manual: bool,
    /// Whether the workspace is emptied before a forced break, and before a manual one.
    pub(crate) seal_forced: bool,
    pub(crate) seal_manual: bool,
    /// Whether the agent keeps reading until its context has reached its size. Otherwise it reads
    /// one turn.
    pub(crate) reads_on: bool,
}

impl BreakPlan {
    /// Plans the break of a task. `sized` means that the task specifies the size of the context.
    ///
    /// A break at an unpredictable time cannot be sealed in advance, so a task that requires the
    /// seal gets none of that kind.
    pub(crate) fn new(
        trigger: Trigger,
        seal_before_break: Option<bool>,
        sized: bool,
        can: Capabilities,
    ) -> Self {
        let (auto, manual) = match trigger {
            Trigger::Auto => (true, false),
            Trigger::Manual => (false, true),
            Trigger::AutoThenManual => (true, true),
        };
        let by_itself = auto && can.auto_compaction && seal_before_break != Some(true);
        let forced = auto && can.forced_compaction;
        Self {
            by_itself,
            forced,
            manual: manual && can.manual_compaction,
            seal_forced: seal_before_break.unwrap_or(false),
            seal_manual: seal_before_break.unwrap_or(true),
            reads_on: by_itself || forced || sized,
        }
    }

    /// Returns the reasons why there was no break, for people.
    pub(crate) fn why_none(self, trigger: Trigger, can: Capabilities, turns: u32) -> Vec<String> {
        let mut why = Vec::new();
        let auto = !matches!(trigger, Trigger::Manual);
        if self.by_itself {
            why.push(format!(
                "it did not compact by itself in {turns} turns (MAX_TURNS)"
            ));
        } else if auto && can.auto_compaction {
            why.push(
                "a compaction by itself cannot be sealed in advance (seal_before_break)".to_owned(),
            );
        } else if auto {
            why.push("it does not compact by itself".to_owned());
        }
        if self.forced {
            why.push("it did not compact with its threshold lowered".to_owned());
        }
        if self.manual {
            why.push("its compact command had no effect".to_owned());
        } else if !matches!(trigger, Trigger::Auto) {
            why.push("it has no compact command".to_owned());
        }
        why
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Capabilities {
        Capabilities {
            fork: true,
            manual_compaction: true,
            auto_compaction: true,
            forced_compaction: true,
            resume: true,
            usage: true,
            tools_off: true,
        }
    }

    #[test]
    fn only_a_manual_break_is_sealed_by_default() {
        let plan = BreakPlan::new(Trigger::AutoThenManual, None, false, all());
        assert!(plan.by_itself && plan.forced && plan.manual);
        assert!(plan.seal_manual && !plan.seal_forced);
    }

    #[test]
    fn a_required_seal_excludes_breaks_at_unpredictable_times() {
        let plan = BreakPlan::new(Trigger::Auto, Some(true), false, all());
        assert!(!plan.by_itself && plan.forced && plan.seal_forced && !plan.manual);
        let controls = Capabilities {
            forced_compaction: false,
            ..all()
        };
        let plan = BreakPlan::new(Trigger::Auto, Some(true), false, controls);
        assert!(!plan.by_itself && !plan.forced && !plan.reads_on);
        let why = plan.why_none(Trigger::Auto, controls, 0);
        assert!(
            why.iter().any(|why| why.contains("seal_before_break")),
            "{why:?}"
        );
    }

    #[test]
    fn a_manual_break_waits_for_no_size_unless_one_is_named() {
        assert!(!BreakPlan::new(Trigger::Manual, None, false, all()).reads_on);
        let sized = BreakPlan::new(Trigger::Manual, None, true, all());
        assert!(sized.reads_on && !sized.by_itself && !sized.forced);
    }
}
