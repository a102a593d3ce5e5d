//! The schema: the SQL files of `/migrations`, embedded, one set per engine with the same numbers.
//! Built at run time rather than by sqlx's macro, which would compile both drivers once more for the build machine.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// One migration as embedded: number, name, text for SQLite, text for PostgreSQL.
type Embedded = (i64, &'static str, &'static str, &'static str);

macro_rules! embedded {
    ($($number:literal $name:literal $file:literal),* $(,)?) => {
        &[$((
            $number,
            $name,
            include_str!(concat!("../../migrations/sqlite/", $file)),
            include_str!(concat!("../../migrations/postgres/", $file)),
        )),*]
    };
}

const ALL: &[Embedded] = embedded![
    1 "accounts" "0001_accounts.sql",
    2 "apps" "0002_apps.sql",
    3 "usage" "0003_usage.sql",
    4 "app_features" "0004_app_features.sql",
    5 "webhooks" "0005_webhooks.sql",
    6 "session_clients" "0006_session_clients.sql",
    7 "organisations" "0007_organisations.sql",
    8 "mail" "0008_mail.sql",
    9 "app_keys" "0009_app_keys.sql",
    10 "billing" "0010_billing.sql",
    12 "access_versions" "0012_access_versions.sql",
    13 "second_factor" "0013_second_factor.sql",
    14 "key_ends" "0014_key_ends.sql",
    15 "identities" "0015_identities.sql",
    16 "usage_minutes" "0016_usage_minutes.sql",
    17 "app_message_cap" "0017_app_message_cap.sql",
    18 "api_tokens" "0018_api_tokens.sql",
    19 "instance" "0019_instance.sql",
    20 "notices_and_exports" "0020_notices_and_exports.sql",
    21 "overage" "0021_overage.sql",
    23 "api_answers" "0023_api_answers.sql",
];

/// All migrations for SQLite.
pub(crate) fn sqlite() -> Migrator {
    migrator(|embedded| embedded.2)
}

/// All migrations for PostgreSQL.
pub(crate) fn postgres() -> Migrator {
    migrator(|embedded| embedded.3)
}

fn migrator(text: impl Fn(&Embedded) -> &'static str) -> Migrator {
    let migrations = ALL
        .iter()
        .map(|one| {
            let sql = text(one).into_sql_str();
            Migration::new(one.0, one.1.into(), MigrationType::Simple, sql, false)
        })
        .collect();
    let mut migrator = Migrator::with_migrations(migrations);
    // A node of the last release must start beside a newer one that has migrated already.
    migrator.set_ignore_missing(true);
    migrator
}
