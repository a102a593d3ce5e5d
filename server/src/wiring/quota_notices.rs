//! Mails owners and admins, and tells the webhook endpoints that want it, when an organisation, or an app with a plan of its own, has
//! used 80 % and 100 % of its messages of the day or of its connections: each once a UTC day, whichever node sees it first.
//!
//! Decided by the counters that the quota itself is decided by. Two nodes name the same notice in the same way, so the second is not
//! queued; a node remembers what it told, so that it doesn't ask storage each time.

use std::collections::HashSet;
use std::time::Duration;

use protocol::webhook::{QuotaThreshold, Resource};
use realtime::Node;
use realtime::standings::Standing;
use tenancy::account::{self, AccountId};
use tenancy::clock::{DAY_MS, day_of};
use tenancy::db::{Db, DbError};
use tenancy::mail::{self, Mail, MailError};
use tenancy::member;
use tenancy::role::Permission;
use tenancy::webhook_endpoint::QUOTA_THRESHOLD;
use tenancy::webhook_notice;

/// How often counters are looked at: a notice comes this much later at the most.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Shares of a limit in per cent, the highest first.
const THRESHOLDS: [u64; 2] = [100, 80];
/// People who are told: an organisation may have very many.
const TOLD_MAX: usize = 20;

/// A notice as it is remembered: scope, what, threshold.
type Told = HashSet<(String, Resource, u64)>;

/// Looks until the process ends. `asks`: what other nodes counted is asked for each time, since this one counts nothing itself.
pub async fn tell(db: Db, node: Node, asks: bool) {
    let (mut day, mut told) = (0, Told::new());
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now_ms = tenancy::now_ms();
        if day != day_of(now_ms) {
            day = day_of(now_ms);
            told.clear();
        }
        for standing in node.standings() {
            let standing = match asks {
                true => node.standing(&standing.scope).unwrap_or(standing),
                false => standing,
            };
            for (what, percent) in reached(&standing) {
                let key = (standing.scope.to_string(), what, percent);
                if told.contains(&key) {
                    continue;
                }
                match notify(&db, &standing, what, percent, now_ms).await {
                    Ok(()) => drop(told.insert(key)),
                    Err(error) => {
                        tracing::warn!(%error, scope = %standing.scope, "a notice of use could not be stored; it is tried again");
                    }
                }
            }
        }
    }
}

/// The highest threshold that is reached, of each limit.
fn reached(standing: &Standing) -> Vec<(Resource, u64)> {
    let limits = [
        (Resource::Messages, standing.messages_today, standing.messages_max),
        (Resource::Connections, standing.connections, standing.connections_max),
    ];
    let share = |used: u64, max: Option<u64>| {
        max.filter(|max| *max > 0).map_or(0, |max| u128::from(used) * 100 / u128::from(max))
    };
    let highest = |(what, used, max): (Resource, u64, Option<u64>)| {
        let share = share(used, max);
        THRESHOLDS.into_iter().find(|percent| share >= u128::from(*percent)).map(|percent| (what, percent))
    };
    limits.into_iter().filter_map(highest).collect()
}

async fn account_of(db: &Db, standing: &Standing) -> Result<Option<AccountId>, DbError> {
    match standing.scope.strip_prefix("account:") {
        Some(id) => Ok(Some(id.to_owned())),
        None => tenancy::membership::account_of_app(db, standing.app_id).await,
    }
}

/// Both ways are tried, whatever becomes of the other; what was told already is not told twice.
async fn notify(
    db: &Db,
    standing: &Standing,
    what: Resource,
    percent: u64,
    now_ms: i64,
) -> Result<(), DbError> {
    let Some(account_id) = account_of(db, standing).await? else { return Ok(()) };
    let mailed = mail_to_people(db, &account_id, standing, what, percent, now_ms).await;
    let event = event(standing, what, percent, now_ms).to_json();
    let once = name_of(standing, what, percent, now_ms);
    webhook_notice::tell(db, &account_id, QUOTA_THRESHOLD, &once, &event, now_ms).await?;
    mailed
}

/// What a notice tells, in the words by which two nodes know that it is the same.
fn name_of(standing: &Standing, what: Resource, percent: u64, now_ms: i64) -> String {
    format!("quota/{}/{what:?}/{percent}/{}", standing.scope, day_of(now_ms))
}

fn event(standing: &Standing, resource: Resource, threshold: u64, now_ms: i64) -> QuotaThreshold {
    let (used, limit) = match resource {
        Resource::Messages => (standing.messages_today, standing.messages_max),
        Resource::Connections => (standing.connections, standing.connections_max),
    };
    QuotaThreshold {
        resource,
        threshold,
        used,
        limit: limit.unwrap_or(0),
        app_id: standing.scope.starts_with("app:").then_some(standing.app_id),
        period_start_ms: now_ms - now_ms.rem_euclid(DAY_MS),
    }
}

async fn mail_to_people(
    db: &Db,
    account_id: &AccountId,
    standing: &Standing,
    what: Resource,
    percent: u64,
    now_ms: i64,
) -> Result<(), DbError> {
    let Some(account) = account::find(db, account_id).await? else { return Ok(()) };
    let name = match standing.scope.starts_with("app:") {
        true => format!("the app {} of {}", standing.app_id, account.name),
        false => account.name,
    };
    let (subject, text) = letter(&name, standing, what, percent, now_ms);
    let mut people = member::list(db, account_id).await?;
    people.retain(|one| one.role.allows(Permission::ManageApps));
    for one in people.iter().take(TOLD_MAX) {
        let once = format!("{}/{}", name_of(standing, what, percent, now_ms), one.user_id);
        let mail = Mail {
            to: &one.email,
            kind: "quota",
            subject: &subject,
            text: &text,
            link: Some("/dash/usage"),
            account: Some(account_id),
            lifetime_ms: Some(DAY_MS),
            once: Some(&once),
        };
        match mail::queue(db, mail).await {
            Ok(()) => {}
            Err(MailError::Db(error)) => return Err(error),
            // The others are told all the same, and pages show it too.
            Err(error) => tracing::warn!(%error, "somebody is not told of an organisation's use"),
        }
    }
    tracing::info!(scope = %standing.scope, ?what, percent, "a notice of use is mailed");
    Ok(())
}

fn letter(name: &str, standing: &Standing, what: Resource, percent: u64, now_ms: i64) -> (String, String) {
    let minutes = (DAY_MS - now_ms.rem_euclid(DAY_MS)) / 60_000;
    let left = format!("{} h {} min", minutes / 60, minutes % 60);
    let (messages, connections) = (standing.messages_today, standing.connections);
    let messages_max = standing.messages_max.unwrap_or(0);
    let connections_max = standing.connections_max.unwrap_or(0);
    match (what, percent) {
        (Resource::Messages, 100) => (
            format!("{name}: publishing is paused until 00:00 UTC"),
            format!(
                "All {messages_max} messages of the day are used by {name}. Publishing goes on in {left}, at 00:00 UTC. Connections, presence and the debug console keep working.\n\nWhat uses them:"
            ),
        ),
        (Resource::Messages, _) => (
            format!("{name}: {percent} % of today's messages are used"),
            format!(
                "{messages} of the day's {messages_max} messages are used by {name}. Nothing breaks yet. At the limit, publishing pauses until 00:00 UTC, which is in {left}.\n\nWhat uses them:"
            ),
        ),
        (Resource::Connections, 100) => (
            format!("{name}: all connections are in use"),
            format!(
                "All {connections_max} connections of {name} are in use. Further clients are turned away until some leave; those that are connected stay.\n\nWhat uses them:"
            ),
        ),
        (Resource::Connections, _) => (
            format!("{name}: {percent} % of the connections are in use"),
            format!(
                "{connections} of {connections_max} connections of {name} are in use. Nothing breaks yet. At the limit, further clients are turned away.\n\nWhat uses them:"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(messages_today: u64, connections: u64) -> Standing {
        Standing {
            scope: "account:a".into(),
            app_id: 1001,
            connections,
            connections_max: Some(10),
            messages_today,
            messages_max: Some(1_000),
        }
    }

    #[test]
    fn the_highest_threshold_of_each_limit_counts() {
        assert_eq!(reached(&standing(799, 7)), []);
        assert_eq!(reached(&standing(800, 7)), [(Resource::Messages, 80)]);
        assert_eq!(reached(&standing(1_000, 9)), [(Resource::Messages, 100), (Resource::Connections, 80)]);
        assert_eq!(reached(&standing(5_000, 10)), [(Resource::Messages, 100), (Resource::Connections, 100)]);
        let unlimited = Standing { connections_max: None, messages_max: None, ..standing(9_999, 99) };
        assert_eq!(reached(&unlimited), []);
    }

    #[test]
    fn an_event_has_the_numbers_of_its_resource_and_the_day_and_names_an_app_with_a_plan_of_its_own() {
        let event = |standing, resource, percent| event(&standing, resource, percent, 3 * DAY_MS + 5);
        let all = event(standing(850, 10), Resource::Messages, 80);
        assert_eq!((all.used, all.limit, all.app_id, all.period_start_ms), (850, 1_000, None, 3 * DAY_MS));
        let of_app = Standing { scope: "app:1001".into(), ..standing(850, 10) };
        let one = event(of_app, Resource::Connections, 100);
        assert_eq!((one.used, one.limit, one.threshold, one.app_id), (10, 10, 100, Some(1_001)));
    }

    #[test]
    fn a_letter_says_what_is_used_and_when_it_begins_again() {
        let evening = 20 * 3_600_000;
        let (subject, text) = letter("shop", &standing(850, 0), Resource::Messages, 80, evening);
        assert_eq!(subject, "shop: 80 % of today's messages are used");
        assert!(text.contains("850 of the day's 1000") && text.contains("in 4 h 0 min"), "{text}");
        let (subject, _) = letter("shop", &standing(1_000, 0), Resource::Messages, 100, evening);
        assert_eq!(subject, "shop: publishing is paused until 00:00 UTC");
    }
}
