//! Mails the person of an API token that it ends: seven days before and one day before, each once, whichever node sees it first. A
//! token that ends unnoticed stops somebody's programs. Nothing of it stands in the audit log: nobody did anything.

use std::time::Duration;

use tenancy::clock::DAY_MS;
use tenancy::db::{Db, DbError};
use tenancy::mail::{self, Mail, MailError};
use tenancy::token::{self, Ending};

/// How often is looked: a notice comes this much later at the most.
const LOOK_EVERY: Duration = Duration::from_secs(15 * 60);
/// Days before the end, the last first.
const STEPS_DAYS: [i64; 2] = [1, 7];
/// Tokens that are read at once.
const PAGE: u32 = 500;

/// Looks until the process ends.
pub async fn remind(db: Db) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = remind_at(&db, tenancy::now_ms()).await {
            tracing::warn!(%error, "people could not be told of tokens that end; it is tried again");
        }
    }
}

async fn remind_at(db: &Db, now_ms: i64) -> Result<(), DbError> {
    let until_ms = now_ms + STEPS_DAYS[1] * DAY_MS;
    let mut after: Option<Ending> = None;
    loop {
        let found = token::ending(db, now_ms, until_ms, after.as_ref(), PAGE).await?;
        for one in &found {
            queue(db, one, now_ms).await?;
        }
        if found.len() < PAGE as usize {
            return Ok(());
        }
        after = found.into_iter().next_back();
    }
}

async fn queue(db: &Db, one: &Ending, now_ms: i64) -> Result<(), DbError> {
    let left_ms = one.expires_ms - now_ms;
    let Some(days) = STEPS_DAYS.into_iter().find(|days| left_ms <= days * DAY_MS) else { return Ok(()) };
    let (subject, text) = letter(one, days);
    let once = format!("token/{}/{days}", one.id);
    let mail = Mail {
        to: &one.email,
        kind: "token",
        subject: &subject,
        text: &text,
        link: Some("/dash/tokens"),
        account: Some(&one.account_id),
        lifetime_ms: Some(left_ms.clamp(1, DAY_MS)),
        once: Some(&once),
    };
    match mail::queue_at(db, mail, now_ms).await {
        Ok(()) => Ok(()),
        Err(MailError::Db(error)) => Err(error),
        // The others are told all the same, and it is tried again at the next look.
        Err(error) => {
            tracing::warn!(%error, "somebody is not told of a token that ends");
            Ok(())
        }
    }
}

fn letter(one: &Ending, days: i64) -> (String, String) {
    let (name, organisation) = (&one.name, &one.account_name);
    let when = match days {
        1 => "within a day".to_owned(),
        days => format!("within {days} days"),
    };
    let at = jiff::Timestamp::from_millisecond(one.expires_ms)
        .map(|at| at.strftime("%-d %B %Y, %H:%M").to_string())
        .unwrap_or_default();
    (
        format!("{organisation}: the API token {name} ends {when}"),
        format!(
            "The API token {name} (it ends in …{}) acts in your name in {organisation}. It works until {at} UTC; programs that use it are refused from then on.\n\nIf they shall go on, make a new one and put it in its place:",
            one.hint
        ),
    )
}

#[cfg(test)]
mod tests {
    use tenancy::audit::{By, Via};
    use tenancy::clock::HOUR_MS;
    use tenancy::membership;
    use tenancy::plan::Plan;
    use tenancy::session::Client;
    use tenancy::token::{NewToken, Scope};

    use super::*;

    #[tokio::test]
    async fn the_person_of_a_token_is_told_seven_days_and_one_day_before_it_ends_once_each() {
        let db = Db::connect("sqlite::memory:").await.unwrap();
        let db = db.with_vault(tenancy::Vault::fresh());
        db.migrate().await.unwrap();
        let (ana, shop) =
            tenancy::user::sign_up(&db, "ana@shop.example", "correct horse 7", Plan::Sandbox).await.unwrap();
        let place = membership::of_user(&db, &ana.id).await.unwrap().remove(0);
        let by = By {
            user_id: Some(ana.id.clone()),
            label: ana.email.clone(),
            client: Client::default(),
            via: Via::Dash,
        };
        let make = async |name, days| {
            let new = NewToken { name, scopes: &[Scope::AppsRead], app_id: None, days };
            token::create(&db, &by, &place, new).await.unwrap().0
        };
        let made = make("deploy", Some(30)).await;
        let revoked = make("old", Some(30)).await;
        make("for ever", None).await;
        assert!(token::revoke(&db, &by, &shop.id, &revoked.id).await.unwrap());
        let end = made.expires_ms.unwrap();
        let subjects = async |now| -> Vec<String> {
            let mails = mail::list_at(&db, now).await.unwrap();
            mails.into_iter().filter(|one| one.kind == "token").map(|one| one.subject).collect()
        };

        remind_at(&db, end - 7 * DAY_MS - 1).await.unwrap();
        assert!(subjects(end).await.is_empty(), "it is too early");
        // Two nodes look at the same moment, and later again.
        let at = end - 7 * DAY_MS;
        let (one, other) = tokio::join!(remind_at(&db, at), remind_at(&db, at));
        one.and(other).unwrap();
        remind_at(&db, at + HOUR_MS).await.unwrap();
        let week = "ana's workspace: the API token deploy ends within 7 days";
        assert_eq!(subjects(end).await, [week]);
        let sent = mail::list_at(&db, at).await.unwrap().remove(0);
        assert_eq!(sent.to, "ana@shop.example");
        assert_eq!(sent.link.unwrap().expose(), "/dash/tokens");
        assert!(sent.text.contains(&format!("…{}", made.hint)), "{}", sent.text);
        for at in [end - DAY_MS, end - HOUR_MS] {
            remind_at(&db, at).await.unwrap();
        }
        let day = "ana's workspace: the API token deploy ends within a day";
        assert_eq!(subjects(end).await, [day, week]);
        remind_at(&db, end).await.unwrap();
        assert_eq!(subjects(end).await.len(), 2, "it is over");
    }
}
