//! The outbox and what the links of mails open: leases, retries, bounds, what is kept and what is forgotten.

use crate::support::{PASSWORD, on_both, sign_up, text, texts};
use tenancy::clock::{DAY_MS, HOUR_MS, MINUTE_MS};
use tenancy::mail::{
    self, KEPT_MS, LIFETIME_MS, Letter, Mail, MailError, PER_RECIPIENT_PER_HOUR_MAX, RETRY_AFTER_MS, State,
    claim, forget, list_at, queue_at, sent, shown, try_again,
};
use tenancy::mail_token::{self, Purpose};
use tenancy::password_reset::{self, ResetError};
use tenancy::user::check_password;
use tenancy::{Db, Secret, email_change, email_proof, now_ms};

const T: i64 = 1_800_000_000_000;
const LETTER: Letter<'static> = Letter { subject: "A letter", text: "Its words." };
const NEW: &str = "twelve purple trombones";

fn to(to: &str) -> Mail<'_> {
    Mail {
        to,
        kind: "test",
        subject: "Hello",
        text: "World",
        link: Some("/reset/very-secret"),
        ..Mail::default()
    }
}

/// The token of the latest mail of a kind.
async fn token(db: &Db, kind: &str, now_ms: i64) -> String {
    let all = list_at(db, now_ms).await.unwrap();
    let link =
        all.iter().find(|one| one.kind == kind && one.link.as_ref().is_some_and(|l| l.expose().len() > 64));
    let link = link.unwrap_or_else(|| panic!("{kind}: {all:?}")).link.clone().unwrap();
    link.expose().rsplit_once('/').unwrap().1.to_owned()
}

#[tokio::test]
async fn a_mail_is_sent_by_one_and_its_link_is_sealed_and_then_forgotten() {
    on_both(|db| async move {
        queue_at(&db, to("Ana@shop.example "), T).await.unwrap();
        let link = text(&db, "select link from mail_outbox").await.unwrap();
        assert!(link.starts_with("sealed:") && !link.contains("very-secret"), "{link}");
        let one = claim(&db, T).await.unwrap();
        assert_eq!((one.len(), one[0].to.as_str(), one[0].attempt), (1, "ana@shop.example", 1));
        assert_eq!(one[0].link.as_ref().map(Secret::expose), Some("/reset/very-secret"));
        assert!(claim(&db, T).await.unwrap().is_empty(), "another node gets nothing");
        assert_eq!(claim(&db, T + 3 * MINUTE_MS).await.unwrap()[0].attempt, 2, "of one that died it gets it");
        sent(&db, &one[0].id, T + 1).await.unwrap();
        let row = &list_at(&db, T + 2).await.unwrap()[0];
        assert_eq!(
            (&row.state, row.text.as_str(), row.link.is_none()),
            (&State::Sent { at_ms: T + 1 }, "", true)
        );
        assert_eq!(text(&db, "select link from mail_outbox").await.as_deref(), Some(""));
        assert!(claim(&db, T + DAY_MS).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_no_mail_server_takes_is_tried_again_for_a_bounded_time() {
    on_both(|db| async move {
        queue_at(&db, to("ana@shop.example"), T).await.unwrap();
        let mut now = T;
        for wait_ms in RETRY_AFTER_MS {
            let due = claim(&db, now).await.unwrap();
            assert!(try_again(&db, &due[0], false, "421 later\r\n", now).await.unwrap());
            assert!(claim(&db, now + wait_ms - 1).await.unwrap().is_empty());
            now += wait_ms;
        }
        let due = claim(&db, now).await.unwrap();
        assert!(!try_again(&db, &due[0], false, "421 later", now).await.unwrap(), "the last one");
        assert!(now - T < LIFETIME_MS && claim(&db, now + HOUR_MS).await.unwrap().is_empty());
        let row = &list_at(&db, now).await.unwrap()[0];
        assert_eq!((&row.state, row.error.as_str()), (&State::Failed, "421 later"));
        assert!(row.link.is_some(), "the server's admin can pass it on");
        queue_at(&db, to("ben@shop.example"), now).await.unwrap();
        let due = claim(&db, now).await.unwrap();
        assert!(!try_again(&db, &due[0], true, "550 nobody", now).await.unwrap(), "in vain is in vain");
        // One that waited too long is not sent.
        queue_at(&db, Mail { lifetime_ms: Some(HOUR_MS), ..to("cem@shop.example") }, now).await.unwrap();
        assert!(claim(&db, now + HOUR_MS).await.unwrap().is_empty());
        let row = &list_at(&db, now + HOUR_MS).await.unwrap()[0];
        assert_eq!((&row.state, row.link.is_none()), (&State::Failed, true));
    })
    .await;
}

#[tokio::test]
async fn the_outbox_is_bounded_and_forgets() {
    on_both(|db| async move {
        for n in 0..PER_RECIPIENT_PER_HOUR_MAX {
            queue_at(&db, to("ana@shop.example"), T + n).await.unwrap();
        }
        let more = queue_at(&db, to("ana@shop.example"), T + 99).await;
        assert!(matches!(more, Err(MailError::TooMany)), "{more:?}");
        queue_at(&db, to("ana@shop.example"), T + HOUR_MS + 99).await.unwrap();
        assert!(matches!(queue_at(&db, to("nobody"), T).await, Err(MailError::AddressInvalid)));
        let once = Mail { once: Some("unpaid of 1"), ..to("ben@shop.example") };
        queue_at(&db, once, T).await.unwrap();
        queue_at(&db, once, T).await.unwrap();
        let count = "select cast(count(*) as text) from mail_outbox where recipient = 'ben@shop.example'";
        assert_eq!(text(&db, count).await.as_deref(), Some("1"));
        let headers = Mail { subject: "Hi\r\nBcc: eve@evil.example", ..to("cem@shop.example") };
        queue_at(&db, headers, T).await.unwrap();
        let subject = text(&db, "select subject from mail_outbox where recipient = 'cem@shop.example'").await;
        assert_eq!(subject.as_deref(), Some("Hi  Bcc: eve@evil.example"));
        for one in claim(&db, T + 100).await.unwrap() {
            shown(&db, &one.id).await.unwrap();
        }
        forget(&db, T + LIFETIME_MS + 2 * HOUR_MS).await.unwrap();
        let left = texts(&db, "select link from mail_outbox").await;
        assert!(left.len() > 20 && left.iter().all(String::is_empty));
        forget(&db, T + KEPT_MS + 2 * HOUR_MS).await.unwrap();
        assert!(texts(&db, "select id from mail_outbox").await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_reset_runs_out_after_an_hour_and_nobody_is_mailed_who_is_nobody() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@shop.example").await;
        for stranger in ["eve@shop.example", "no address", "owner@localhost"] {
            password_reset::ask_at(&db, stranger, LETTER, T).await.unwrap();
        }
        assert!(list_at(&db, T).await.unwrap().is_empty());
        password_reset::ask_at(&db, "ANA@shop.example", LETTER, T).await.unwrap();
        let first = token(&db, "reset", T).await;
        assert!(!texts(&db, "select token_hash from mail_tokens").await.contains(&first), "hashed at rest");
        let late = password_reset::reset_at(&db, &first, NEW, T + HOUR_MS).await;
        assert!(matches!(late, Err(ResetError::NotValid)), "{late:?}");
        let short = password_reset::reset_at(&db, &first, "short", T + HOUR_MS - 1).await;
        assert!(matches!(short, Err(ResetError::TooShort)), "{short:?}");
        let (who, _) = password_reset::reset_at(&db, &first, NEW, T + HOUR_MS - 1).await.unwrap();
        assert_eq!(who, ana);
        assert!(check_password(&db, "ana@shop.example", NEW).await.unwrap().is_some());
        assert!(password_reset::reset_at(&db, &first, PASSWORD, T + 1).await.is_err(), "once");
        for n in 0..10 {
            password_reset::ask_at(&db, "ana@shop.example", LETTER, T + n).await.unwrap();
        }
        let mailed = list_at(&db, T).await.unwrap().len();
        assert_eq!(mailed, usize::try_from(password_reset::PER_HOUR_MAX).unwrap());
        // The last link that was mailed works on.
        let last = token(&db, "reset", T + 10).await;
        assert!(mail_token::look(&db, &last, Purpose::Reset, T + 10).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn proofs_of_addresses_run_out_after_a_day_and_fit_their_address_only() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@shop.example").await;
        email_proof::ask_at(&db, &ana, LETTER, T).await.unwrap();
        let proof = token(&db, "confirm", T).await;
        assert_eq!(email_proof::confirm_at(&db, &proof, T + DAY_MS).await.unwrap(), None);
        assert_eq!(
            password_reset::reset_at(&db, &proof, NEW, T).await.unwrap_err().to_string(),
            "the link is not valid"
        );
        assert_eq!(email_proof::confirm_at(&db, &proof, T + DAY_MS - 1).await.unwrap(), Some(ana.clone()));
        let confirmed = text(&db, "select cast(email_confirmed_ms as text) from users").await;
        assert_eq!(confirmed, Some((T + DAY_MS - 1).to_string()));

        let now = now_ms();
        email_proof::ask_at(&db, &ana, LETTER, now).await.unwrap();
        let of_old = token(&db, "confirm", now).await;
        email_change::ask(&db, &ana, PASSWORD, "ana@new.example", LETTER, LETTER).await.unwrap();
        let change = token(&db, "change-email", now).await;
        assert!(email_change::change_at(&db, &change, now + 2 * DAY_MS).await.is_err());
        let (before, after) = email_change::change(&db, &change).await.unwrap();
        assert_eq!((before.email.as_str(), after.as_str()), ("ana@shop.example", "ana@new.example"));
        assert!(email_change::change(&db, &change).await.is_err(), "once");
        assert_eq!(email_proof::confirm_at(&db, &of_old, now).await.unwrap(), None, "the old one is void");
        mail::forget(&db, now + 2 * DAY_MS).await.unwrap();
        assert!(texts(&db, "select token_hash from mail_tokens").await.is_empty());
    })
    .await;
}
