//! Selection of the tasks and runs that the leaderboard over all tasks covers.

use chrono::{DateTime, Utc};
use domain::vocabulary::TaskStatus;
use entity::{TaskId, agent_run, task};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};

/// Largest number of tasks on one leaderboard.
const MAX_TASKS: u64 = 2_000;
/// Largest number of runs on one leaderboard, unless its newest task alone has more.
const MAX_RUNS: u64 = 20_000;

/// Filter of the leaderboard over all tasks. An empty field excludes nothing.
///
/// Only tasks that have ended count: the figures of a task that still runs would favour the agents
/// that finish first. Dates refer to the end of the task, so the runs of a task stay together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OverallFilter {
    /// Repository of the task, `owner/name`.
    pub repo: Option<String>,
    /// Agent with its parameter, as requested.
    pub agent: Option<String>,
    /// Model that the agent asked.
    pub model: Option<String>,
    /// Earliest end of the task.
    pub ended_from: Option<DateTime<Utc>>,
    /// Time before which the task ended.
    pub ended_before: Option<DateTime<Utc>>,
}

/// Tasks of the leaderboard over all tasks, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelectedTasks {
    /// Ids of the tasks.
    pub ids: Vec<TaskId>,
    /// Number of tasks, if older tasks were left out because of a limit.
    pub cut_at_tasks: Option<u64>,
    /// Number of matching runs of these tasks, if older tasks were left out.
    pub cut_at_runs: Option<u64>,
}

impl OverallFilter {
    /// Selects the newest tasks that have ended and have a matching run. `tasks` is the query for
    /// the tasks that may be read.
    ///
    /// # Errors
    /// Returns the error of the query.
    pub async fn select_tasks(
        &self,
        connection: &impl ConnectionTrait,
        tasks: Select<task::Entity>,
    ) -> Result<SelectedTasks, DbErr> {
        let ended = [TaskStatus::Done, TaskStatus::Error, TaskStatus::Cancelled];
        let mut query = self
            .matching_runs(tasks.inner_join(agent_run::Entity))
            .filter(task::Column::Status.is_in(ended));
        if let Some(repo) = &self.repo {
            query = query.filter(task::Column::Repo.eq(repo.as_str()));
        }
        if let Some(from) = self.ended_from {
            query = query.filter(task::Column::CompletedAt.gte(from));
        }
        if let Some(before) = self.ended_before {
            query = query.filter(task::Column::CompletedAt.lt(before));
        }
        let rows: Vec<(TaskId, i64)> = query
            .select_only()
            .column(task::Column::Id)
            .column_as(agent_run::Column::Id.count(), "runs")
            .group_by(task::Column::Id)
            .group_by(task::Column::CompletedAt)
            .order_by_desc(task::Column::CompletedAt)
            .order_by_desc(task::Column::Id)
            .limit(MAX_TASKS + 1)
            .into_tuple()
            .all(connection)
            .await?;
        Ok(within_limits(rows))
    }

    /// Limits a query that joins runs to the runs of the agent and model.
    pub fn matching_runs<E: EntityTrait>(&self, mut query: Select<E>) -> Select<E> {
        if let Some(agent) = &self.agent {
            query = query.filter(agent_run::Column::Agent.eq(agent.as_str()));
        }
        if let Some(model) = &self.model {
            query = query.filter(agent_run::Column::Model.eq(model.as_str()));
        }
        query
    }

    /// Returns whether a run is one of the agent and model.
    pub fn matches_run(&self, agent: &str, model: Option<&str>) -> bool {
        let same_agent = self.agent.as_ref().is_none_or(|wanted| wanted == agent);
        let same_model = self
            .model
            .as_ref()
            .is_none_or(|wanted| Some(wanted.as_str()) == model);
        same_agent && same_model
    }
}

/// Returns the newest whole tasks that the limits allow, from tasks with their numbers of runs.
fn within_limits(rows: Vec<(TaskId, i64)>) -> SelectedTasks {
    let total = rows.len();
    let mut selected = SelectedTasks::default();
    let (mut tasks, mut runs) = (0, 0);
    for (id, own_runs) in rows {
        let own_runs = own_runs.unsigned_abs();
        if tasks == MAX_TASKS || tasks > 0 && runs + own_runs > MAX_RUNS {
            break;
        }
        tasks += 1;
        runs += own_runs;
        selected.ids.push(id);
    }
    if selected.ids.len() < total {
        selected.cut_at_tasks = Some(tasks);
        selected.cut_at_runs = Some(runs);
    }
    selected
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(runs: impl IntoIterator<Item = i64>) -> Vec<(TaskId, i64)> {
        runs.into_iter().map(|runs| (TaskId::new(), runs)).collect()
    }

    #[test]
    fn tasks_within_the_limits_are_all_selected() {
        let selected = within_limits(tasks([3; 2_000]));
        assert_eq!(selected.ids.len(), 2_000);
        assert_eq!(selected.cut_at_tasks, None);
        assert_eq!(selected.cut_at_runs, None);
    }

    #[test]
    fn the_oldest_tasks_beyond_the_limit_of_tasks_are_left_out() {
        let rows = tasks([3; 2_001]);
        let selected = within_limits(rows.clone());
        assert_eq!(selected.ids.len(), 2_000);
        assert_eq!(selected.ids[0], rows[0].0);
        assert_eq!(selected.cut_at_tasks, Some(2_000));
        assert_eq!(selected.cut_at_runs, Some(6_000));
    }

    #[test]
    fn a_task_is_selected_with_all_its_runs_or_not_at_all() {
        let selected = within_limits(tasks([15_000, 6_000, 1]));
        assert_eq!(selected.ids.len(), 1);
        assert_eq!(selected.cut_at_runs, Some(15_000));
        assert_eq!(within_limits(tasks([30_000])).ids.len(), 1);
    }
}
