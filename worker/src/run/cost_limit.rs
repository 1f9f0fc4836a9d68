//! Enforces the cost limit of a task (`max_cost_usd`).

use entity::agent_run;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use serde_json::Value;

use crate::job_error::JobError;
use crate::run::context::RunContext;

impl RunContext {
    /// Loads the cost of the task's other runs, and checks the limit.
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

    /// Stops the run if the task has reached its cost limit.
    ///
    /// # Errors
    ///
    /// The limit is reached, or it cannot be enforced because the cost of a turn is unknown.
    pub(super) fn check_cost_limit(&self) -> Result<(), JobError> {
        let Some(most) = self.task.max_cost_usd else {
            return Ok(());
        };
        let bill = &self.stats.bill;
        if bill.turns_without_cost > 0 && !self.adapter.profile().control {
            return Err(JobError::budget(format!(
                "max_cost_usd is {most}, but the cost of {} is unknown: its program does not report it, \
                 and the model has no list price",
                self.identity.agent
            )));
        }
        let spent = bill.known_usd + self.spent_elsewhere;
        if spent >= most {
            return Err(JobError::budget(format!(
                "the task has cost {spent:.4} US dollars; its limit is {most} (max_cost_usd)"
            )));
        }
        Ok(())
    }
}
