//! Keeps a task below the cost that it may reach (`max_cost_usd`).

use entity::agent_run;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use serde_json::Value;

use crate::job_error::JobError;
use crate::run::context::RunContext;

impl RunContext {
    /// Reads what the task's other runs have cost so far.
    pub(super) async fn check_task_cost(&mut self) -> Result<(), JobError> {
        if self.task.max_cost_usd.is_none() {
            return Ok(());
        }
        let others: Vec<Value> = agent_run::Entity::find()
            .select_only()
            .column(agent_run::Column::Stats)
            .filter(agent_run::Column::TaskId.eq(self.identity.task))
            .filter(agent_run::Column::Id.ne(self.identity.run))
            .into_tuple()
            .all(&self.worker.platform.database)
            .await?;
        self.spent_elsewhere = others
            .iter()
            .filter_map(|stats| stats.pointer("/bill/known_usd")?.as_f64())
            .sum();
        self.check_cost_limit()
    }

    /// Stops the run where the task has cost what it may.
    ///
    /// # Errors
    ///
    /// The limit is reached; or it cannot be kept, because a turn did not tell its cost.
    pub(super) fn check_cost_limit(&self) -> Result<(), JobError> {
        let Some(most) = self.task.max_cost_usd else {
            return Ok(());
        };
        let bill = &self.stats.bill;
        if bill.turns_without_cost > 0 && !self.adapter.profile().control {
            return Err(JobError::budget(format!(
                "max_cost_usd is {most}, but what {} costs is not known: its program does not tell, \
                 and the model has no listed price",
                self.identity.agent
            )));
        }
        let spent = bill.known_usd + self.spent_elsewhere;
        if spent >= most {
            return Err(JobError::budget(format!(
                "the task has cost {spent:.4} US dollars, and may cost {most} (max_cost_usd)"
            )));
        }
        Ok(())
    }
}
