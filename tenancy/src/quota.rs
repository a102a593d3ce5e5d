//! Plans as quota templates: the catalogue of [`crate::plan`] as whoever runs the server has changed it, and plans of their own.
//! An edit reaches the nodes through the change feed, as every change of an app does; it disconnects nobody.
//!
//! Prices are settings of billing and are not here.

use crate::clock::now_ms;
use crate::db::{Db, DbError, read, tx};
use crate::limits::Limits;
use crate::plan::Plan;
use crate::{changes, statements};

statements::sqls! {
    ALL_ROWS = "select name, connections_max, messages_max, publishes_max, reads_max from quota_templates order by name";
    OF_NAME = "select name, connections_max, messages_max, publishes_max, reads_max from quota_templates where name = $1";
    COUNT = "select count(*) from quota_templates";
    PUT = "insert into quota_templates (name, connections_max, messages_max, publishes_max, reads_max, changed_ms)
        values ($1, $2, $3, $4, $5, $6)
        on conflict (name) do update set connections_max = excluded.connections_max, messages_max = excluded.messages_max,
            publishes_max = excluded.publishes_max, reads_max = excluded.reads_max, changed_ms = excluded.changed_ms";
    FORGET = "delete from quota_templates where name = $1";
    /// Every app that a plan is for, its own or its account's, in one order everywhere.
    APPS_ON = "select apps.id from apps join accounts a on a.id = apps.account_id
        where coalesce(apps.plan, a.plan) = $1 order by apps.id";
    ACCOUNTS_USE = "select plan, count(*) from accounts where deleted_ms is null group by plan";
    APPS_USE = "select plan, count(*) from apps where plan is not null group by plan";
}

/// Templates with numbers of their own.
pub const TEMPLATES_MAX: i64 = 100;
/// The largest number that a field takes: a thousand billion.
pub const NUMBER_MAX: u64 = 1_000_000_000_000;

/// The numbers of a template; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Connections open at the same time.
    pub connections_max: Option<u64>,
    /// Messages in one UTC day.
    pub messages_per_day_max: Option<u64>,
    /// Events that the HTTP API publishes in a second, per app and node.
    pub publishes_per_second_max: Option<u32>,
    /// Other calls of the HTTP API in a second, per app and node.
    pub reads_per_second_max: Option<u32>,
}

impl Numbers {
    /// Those of the catalogue in the code.
    pub fn of_catalogue(plan: Plan) -> Numbers {
        Numbers {
            connections_max: plan.connections_max(),
            messages_per_day_max: plan.messages_per_day_max(),
            publishes_per_second_max: plan.publishes_per_second_max(),
            reads_per_second_max: plan.reads_per_second_max(),
        }
    }

    /// Does it allow more connections, or as many and more messages? No limit is more than any.
    pub fn are_more_than(self, other: Numbers) -> bool {
        let size = |of: Numbers| {
            (of.connections_max.unwrap_or(u64::MAX), of.messages_per_day_max.unwrap_or(u64::MAX))
        };
        size(self) > size(other)
    }
}

/// A plan as this server has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    /// Which.
    pub plan: Plan,
    /// Its numbers.
    pub numbers: Numbers,
    /// They are not those of the catalogue.
    pub edited: bool,
    /// Organisations on it.
    pub organisations: u64,
    /// Apps that have it for themselves.
    pub apps: u64,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum QuotaError {
    /// Not 1 to 30 lower-case letters, digits and dashes.
    #[error("a plan's name has 1 to 30 lower-case letters, digits and dashes")]
    NameInvalid,
    /// A new plan has the name of one that is there.
    #[error("there is such a plan already")]
    NameTaken,
    /// A number above [`NUMBER_MAX`].
    #[error("a number is too large")]
    NumberInvalid,
    /// There are [`TEMPLATES_MAX`].
    #[error("there are {TEMPLATES_MAX} plans already")]
    TooMany,
    /// Organisations or apps are on it.
    #[error("the plan is in use")]
    InUse,
    /// There is no such plan.
    #[error("there is no such plan")]
    NotFound,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// A change row for each app on a plan. Make it the last statement, and wake the nodes after the commit.
macro_rules! tell_its_apps {
    ($t:ident, $name:expr) => {{
        let apps: Vec<i64> =
            sqlx::query_scalar(APPS_ON).bind($name).fetch_all(&mut *$t).await.map_err(DbError::from)?;
        for app_id in apps {
            changes::record!($t, app_id);
        }
    }};
}

type Row = (String, Option<i64>, Option<i64>, Option<i64>, Option<i64>);

fn numbers((_, connections, messages, publishes, reads): &Row) -> Numbers {
    let large = |n: Option<i64>| n.map(|n| n.max(0).cast_unsigned());
    let small = |n: Option<i64>| n.map(|n| u32::try_from(n.max(0)).unwrap_or(u32::MAX));
    Numbers {
        connections_max: large(*connections),
        messages_per_day_max: large(*messages),
        publishes_per_second_max: small(*publishes),
        reads_per_second_max: small(*reads),
    }
}

/// The numbers of a plan on this server.
pub async fn numbers_of(db: &Db, plan: Plan) -> Result<Numbers, DbError> {
    let row: Option<Row> = read!(db, |p| sqlx::query_as(OF_NAME).bind(plan.name()).fetch_optional(p).await)?;
    Ok(row.map_or_else(|| Numbers::of_catalogue(plan), |row| numbers(&row)))
}

/// What a plan allows on this server.
pub async fn limits_of(db: &Db, plan: Plan) -> Result<Limits, DbError> {
    Ok(with_numbers(Limits::of(plan), numbers_of(db, plan).await?))
}

fn with_numbers(limits: Limits, numbers: Numbers) -> Limits {
    let Numbers { connections_max, messages_per_day_max, publishes_per_second_max, reads_per_second_max } =
        numbers;
    Limits {
        connections_max,
        messages_per_day_max,
        publishes_per_second_max,
        reads_per_second_max,
        presence_members_max: limits.presence_members_max,
    }
}

/// The plan of a name, if this server has it.
pub async fn find(db: &Db, name: &str) -> Result<Option<Plan>, DbError> {
    if let Some(plan) = Plan::parse(name) {
        return Ok(Some(plan));
    }
    let Some(plan) = Plan::stored(name) else { return Ok(None) };
    let row: Option<Row> = read!(db, |p| sqlx::query_as(OF_NAME).bind(name).fetch_optional(p).await)?;
    Ok(row.map(|_| plan))
}

/// All plans: the catalogue in its order, then those of this server by name.
pub async fn all(db: &Db) -> Result<Vec<Template>, DbError> {
    let rows: Vec<Row> = read!(db, |p| sqlx::query_as(ALL_ROWS).fetch_all(p).await)?;
    let accounts: Vec<(String, i64)> = read!(db, |p| sqlx::query_as(ACCOUNTS_USE).fetch_all(p).await)?;
    let apps: Vec<(String, i64)> = read!(db, |p| sqlx::query_as(APPS_USE).fetch_all(p).await)?;
    let used = |list: &[(String, i64)], plan: Plan| {
        list.iter().find(|(name, _)| name == plan.name()).map_or(0, |(_, n)| n.max(&0).cast_unsigned())
    };
    let own = rows.iter().filter(|row| Plan::parse(&row.0).is_none()).filter_map(|row| Plan::stored(&row.0));
    let template = |plan: Plan| {
        let stored = rows.iter().find(|row| row.0 == plan.name()).map(numbers);
        let catalogue = Numbers::of_catalogue(plan);
        let numbers = stored.unwrap_or(catalogue);
        let edited = stored.is_some();
        Template { plan, numbers, edited, organisations: used(&accounts, plan), apps: used(&apps, plan) }
    };
    Ok(Plan::ALL.into_iter().chain(own).map(template).collect())
}

/// Gives a plan its numbers; with `new` it must not be there yet, else it must. Every node reads the apps on it anew.
pub async fn put(db: &Db, name: &str, numbers: Numbers, new: bool) -> Result<Plan, QuotaError> {
    let known = find(db, name).await?;
    let plan = match (known, new) {
        (Some(_), true) => return Err(QuotaError::NameTaken),
        (Some(plan), false) => plan,
        (None, true) => Plan::stored(name).ok_or(QuotaError::NameInvalid)?,
        (None, false) => return Err(QuotaError::NotFound),
    };
    let largest = [numbers.connections_max, numbers.messages_per_day_max].into_iter().flatten().max();
    if largest.is_some_and(|largest| largest > NUMBER_MAX) {
        return Err(QuotaError::NumberInvalid);
    }
    tx!(db, |t| {
        let stored: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut *t).await.map_err(DbError::from)?;
        if new && stored >= TEMPLATES_MAX {
            return Err(QuotaError::TooMany);
        }
        sqlx::query(PUT)
            .bind(plan.name())
            .bind(numbers.connections_max.map(u64::cast_signed))
            .bind(numbers.messages_per_day_max.map(u64::cast_signed))
            .bind(numbers.publishes_per_second_max.map(i64::from))
            .bind(numbers.reads_per_second_max.map(i64::from))
            .bind(now_ms())
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?;
        tell_its_apps!(t, plan.name());
    });
    db.notice().notify();
    Ok(plan)
}

/// A plan of the catalogue gets its numbers back; one of this server goes, unless something is on it.
pub async fn remove(db: &Db, name: &str) -> Result<(), QuotaError> {
    let plan = find(db, name).await?.ok_or(QuotaError::NotFound)?;
    if matches!(plan, Plan::Own(_)) {
        let used = all(db).await?.into_iter().find(|one| one.plan == plan);
        if used.is_some_and(|one| one.organisations + one.apps > 0) {
            return Err(QuotaError::InUse);
        }
    }
    tx!(db, |t| {
        sqlx::query(FORGET).bind(plan.name()).execute(&mut *t).await.map_err(DbError::from)?;
        tell_its_apps!(t, plan.name());
    });
    db.notice().notify();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_more_than_another_by_connections_then_by_messages_and_no_limit_is_more_than_any() {
        let numbers = |connections_max, messages_per_day_max| Numbers {
            connections_max,
            messages_per_day_max,
            ..Numbers::default()
        };
        for (more, less) in [
            (numbers(Some(2), Some(1)), numbers(Some(1), Some(9))),
            (numbers(None, Some(1)), numbers(Some(9), None)),
            (numbers(Some(1), None), numbers(Some(1), Some(9))),
        ] {
            assert!(more.are_more_than(less) && !less.are_more_than(more), "{more:?} {less:?}");
            assert!(!more.are_more_than(more));
        }
    }
}
