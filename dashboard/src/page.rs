//! What page templates share: the frame around them, numbers in words, and local paths.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;
use tenancy::app::App;
use tenancy::membership::Membership;
pub(crate) use tenancy::role::{Permission, Role};

use crate::billing_notice::BillingFrame;
use crate::error::PageError;
use crate::session::CurrentUser;
use crate::{AppUsage, Dashboard};

/// The frame of a signed-in page: templates that extend `dash_layout.html` have it as `frame`.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Token for forms and scripts.
    pub csrf: String,
    /// Whose session this is.
    pub email: String,
    /// The organisation that the page is about; empty for who belongs to none.
    pub account: String,
    /// The billing, on a server that bills.
    pub billing: Option<BillingFrame>,
    /// All that they belong to, as the switcher lists them.
    pub organisations: Vec<Choice>,
    /// A code is asked of them before something is deleted.
    pub second_factor: bool,
    /// Their address is not confirmed, and mail leaves this server: a strip reminds them.
    pub confirm: bool,
    /// They look after the server.
    pub server_admin: bool,
    /// What the organisation uses; a strip tells from 80 % of a limit on.
    pub usage: Option<Usage>,
    /// Why the organisation is suspended, if it is.
    pub suspended: Option<String>,
    role: Option<Role>,
}

/// An organisation in the switcher.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What they are there.
    pub role: &'static str,
    /// The one that the page is about.
    pub here: bool,
}

impl Frame {
    /// The frame for this person.
    pub fn new(current: &CurrentUser) -> Frame {
        let here = current.here();
        let choice = |one: &Membership| Choice {
            id: one.account.id.clone(),
            name: one.account.name.clone(),
            role: one.role.title(),
            here: here.is_some_and(|here| here.account.id == one.account.id),
        };
        Frame {
            csrf: current.csrf().to_owned(),
            email: current.user().email.clone(),
            account: here.map(|here| here.account.name.clone()).unwrap_or_default(),
            organisations: current.memberships().iter().map(choice).collect(),
            role: here.filter(|here| !here.is_locked).map(|here| here.role),
            second_factor: current.second_factor(),
            billing: current.billing().cloned(),
            confirm: current.asked_to_confirm(),
            server_admin: current.is_server_admin(),
            usage: current.usage().map(Usage),
            suspended: current.suspended().map(str::to_owned),
        }
    }

    /// Does their role allow this? For links and buttons; the handler asks by itself.
    pub fn may(&self, permission: Permission) -> bool {
        self.role.is_some_and(|role| role.allows(permission))
    }

    /// The letter in the account's round button.
    pub fn initial(&self) -> String {
        self.email.chars().next().map(|c| c.to_uppercase().to_string()).unwrap_or_default()
    }
}

/// The pages of an organisation: templates that include `org_nav.html` have it as `section`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrgSection {
    /// `/dash`
    Apps,
    /// `/dash/usage`
    Usage,
    /// `/dash/people`
    People,
    /// `/dash/audit`
    Audit,
    /// `/dash/tokens`
    Tokens,
    /// `/dash/organisation`
    Organisation,
}

impl OrgSection {
    /// `aria-current` for the links.
    pub fn current(self, section: OrgSection) -> &'static str {
        if self == section { "true" } else { "false" }
    }
}

/// The table of roles as the page of people shows it.
pub(crate) const PERMISSIONS: &[(Permission, &str)] = &[
    (Permission::SeeStats, "Apps and their numbers"),
    (Permission::SeeApps, "Pages of apps, console without payloads"),
    (Permission::SeePayloads, "Payloads, members, webhook deliveries"),
    (Permission::SendEvents, "Send events, test and repeat webhooks"),
    (Permission::UseSecrets, "See secrets, make key pairs"),
    (Permission::ManageApps, "Make apps, settings, webhooks, delete keys"),
    (Permission::RemoveApps, "Delete and move apps"),
    (Permission::ManagePeople, "People, roles, audit log"),
    (Permission::ManageBilling, "Plan and payment"),
    (Permission::ManageOrganisation, "Rename and delete the organisation"),
];

/// The pages of an app, in the order of the rail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// `/dash/apps/{id}`
    Overview,
    /// `/dash/apps/{id}/start`
    Start,
    /// `/dash/apps/{id}/keys`
    Keys,
    /// `/dash/apps/{id}/console`
    Console,
    /// `/dash/apps/{id}/stats`
    Stats,
    /// `/dash/apps/{id}/webhooks` and below
    Webhooks,
    /// `/dash/apps/{id}/settings`
    Settings,
}

/// The frame of an app's page: templates that extend `app_layout.html` have it as `bar`, beside `frame`.
#[derive(Clone, Debug)]
pub struct AppBar {
    /// The app.
    pub app: App,
    /// What it uses; shown in the live strip.
    pub usage: Usage,
    /// The page that the rail marks.
    pub section: Section,
}

impl AppBar {
    /// The frame for a page of this app.
    pub fn new(dashboard: &Dashboard, app: &App, section: Section) -> AppBar {
        AppBar { app: app.clone(), usage: Usage(dashboard.usage(app).nearer()), section }
    }

    /// `aria-current` for the rail's links.
    pub fn current(&self, section: Section) -> &'static str {
        if self.section == section { "page" } else { "false" }
    }
}

/// An app's use, in words.
#[derive(Clone, Copy, Debug)]
pub struct Usage(pub AppUsage);

impl Usage {
    /// `42`
    pub fn connections(&self) -> String {
        count(self.0.connections)
    }

    /// `100`, or empty without a limit.
    pub fn connections_max(&self) -> String {
        self.0.connections_max.map(count).unwrap_or_default()
    }

    /// `18,204`
    pub fn messages(&self) -> String {
        count(self.0.messages_today)
    }

    /// `200,000`, or empty without a limit.
    pub fn messages_max(&self) -> String {
        self.0.messages_max.map(count).unwrap_or_default()
    }

    /// `5 h 12 m`
    pub fn resets_in(&self) -> String {
        let minutes = ((self.0.resets_ms - tenancy::clock::now_ms()).max(0) + 59_999) / 60_000;
        match (minutes / 60, minutes % 60) {
            (0, m) => format!("{m} min"),
            (h, m) => format!("{h} h {m:02} min"),
        }
    }

    /// Share of the connection limit in per cent, 0 without one; at most 100.
    pub fn connections_share(&self) -> u64 {
        share(self.0.connections, self.0.connections_max)
    }

    /// Share of the day's messages in per cent, 0 without a limit; at most 100.
    pub fn messages_share(&self) -> u64 {
        share(self.0.messages_today, self.0.messages_max)
    }

    /// `ok`, `warn` from 80 %, `bad` at the limit.
    pub fn connections_level(&self) -> &'static str {
        level(self.connections_share())
    }

    /// `ok`, `warn` from 80 %, `bad` at the limit.
    pub fn messages_level(&self) -> &'static str {
        level(self.messages_share())
    }
}

fn level(share: u64) -> &'static str {
    match share {
        0..80 => "ok",
        80..100 => "warn",
        _ => "bad",
    }
}

fn share(used: u64, max: Option<u64>) -> u64 {
    match max {
        None => 0,
        Some(0) => 100,
        Some(max) => (u128::from(used) * 100 / u128::from(max)).min(100) as u64,
    }
}

/// `200,000`
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `24 November 2026, 07:00`, UTC.
pub fn moment(ms: i64) -> String {
    at(ms, "%-d %B %Y, %H:%M")
}

/// A time in UTC, written by a pattern of `strftime`; empty when no calendar has it.
pub(crate) fn at(ms: i64, pattern: &str) -> String {
    jiff::Timestamp::from_millisecond(ms).map(|at| at.strftime(pattern).to_string()).unwrap_or_default()
}

/// A page that's fine.
pub fn html(template: &impl Template) -> Result<Response, PageError> {
    html_with(StatusCode::OK, template)
}

/// A page with a status, such as a form that comes back with its errors.
pub fn html_with(status: StatusCode, template: &impl Template) -> Result<Response, PageError> {
    Ok((status, Html(template.render()?)).into_response())
}

/// `path` if it leads to a page of the dashboard on this server, and nowhere else.
pub(crate) fn local_path(path: &str) -> Option<&str> {
    let dash = path.strip_prefix("/dash").is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    let inside = dash || path.starts_with("/invite/");
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') && path.len() <= 1024;
    (inside && plain).then_some(path)
}

/// `/login`, with the way back.
pub(crate) fn login_path(next: Option<&str>) -> String {
    match next.filter(|path| *path != "/dash") {
        None => "/login".to_owned(),
        Some(path) => format!("/login?next={}", encode(path)),
    }
}

/// Percent-encodes a query value.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// An inline picture by name; nothing of it comes from a visitor. Templates add `|safe`.
pub fn icon(name: &str) -> String {
    let shape = match name {
        "overview" => r#"<path d="M3 3h5.5v6H3zM11.5 3H17v4h-5.5zM11.5 10H17v7h-5.5zM3 12h5.5v5H3z"/>"#,
        "start" => r#"<path d="M5 17V3.5M5 4h9.5l-2 3.25 2 3.25H5"/>"#,
        "keys" => r#"<circle cx="6.5" cy="13.5" r="3.5"/><path d="M9 11l7.5-7.5M13 7l2.5 2.5"/>"#,
        "console" => r#"<path d="M2.5 4h15v12h-15zM5.5 8l2.5 2-2.5 2M10 12.5h4"/>"#,
        "stats" => r#"<path d="M3 17h14M5 14v-4M10 14V4M15 14V8"/>"#,
        "webhooks" => {
            r#"<circle cx="5" cy="14.5" r="2.5"/><circle cx="15" cy="14.5" r="2.5"/><circle cx="10" cy="5.5" r="2.5"/><path d="M6.2 12.3L9 7.8M7.5 14.5h5M13.8 12.3L11 7.8"/>"#
        }
        "settings" => {
            r#"<path d="M3 6h7M14 6h3M3 14h3M10 14h7"/><circle cx="12" cy="6" r="2"/><circle cx="8" cy="14" r="2"/>"#
        }
        "theme" => {
            r#"<circle cx="10" cy="10" r="6.5"/><path d="M10 3.5a6.5 6.5 0 0 1 0 13z" fill="currentColor"/>"#
        }
        "switch" => r#"<path d="M6.5 8L10 4.5 13.5 8M6.5 12l3.5 3.5 3.5-3.5"/>"#,
        "copy" => r#"<path d="M7 7h9v9H7zM4 13V4h9"/>"#,
        _ => "",
    };
    format!(
        r#"<svg class="icon" viewBox="0 0 20 20" width="20" height="20" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linejoin="round" stroke-linecap="round" aria-hidden="true" focusable="false">{shape}</svg>"#
    )
}

/// A button that copies the text of the element `target`. Both words are ours, not a visitor's. Templates add `|safe`.
pub fn copy_button(target: impl AsRef<str>, what: &str) -> String {
    let (target, icon) = (target.as_ref(), icon("copy"));
    format!(
        r##"<button class="button small quiet copy needs-js" type="button" data-copy="#{target}" aria-label="Copy {what}" title="Copy {what}">{icon}<span data-copy-word>Copy</span></button>"##
    )
}

/// A sentence of ours as HTML: what stands between backticks is code. Templates add `|safe`.
pub fn marked(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    for (i, piece) in text.split('`').enumerate() {
        let code = i % 2 == 1;
        out.push_str(if code { "<code>" } else { "" });
        for c in piece.chars() {
            match c {
                '<' => out.push_str("&#60;"),
                '>' => out.push_str("&#62;"),
                '&' => out.push_str("&#38;"),
                '"' => out.push_str("&#34;"),
                '\'' => out.push_str("&#39;"),
                c => out.push(c),
            }
        }
        out.push_str(if code { "</code>" } else { "" });
    }
    out
}

/// The element id of a piece of a snippet.
pub fn part_id(snippet: &str, part: &str, index: impl std::fmt::Display) -> String {
    format!("code-{snippet}-{part}-{index}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_the_dashboard_are_local_paths() {
        for good in ["/dash", "/dash/", "/dash?x=1", "/dash/apps/1001/console?q=kind:err", "/invite/ab12"] {
            assert_eq!(local_path(good), Some(good));
        }
        for bad in [
            "",
            "/",
            "//evil.example",
            "/dashboard",
            "/invite",
            "/\\evil",
            "https://evil",
            "/dash\\..",
            "/dash/\r\nx",
            "dash",
        ] {
            assert_eq!(local_path(bad), None, "{bad}");
        }
    }

    #[test]
    fn code_is_marked_and_markup_stays_text() {
        assert_eq!(marked("On `ws://` & <b>"), "On <code>ws://</code> &#38; &#60;b&#62;");
        assert_eq!(marked("`a<b`"), "<code>a&#60;b</code>");
    }

    #[test]
    fn numbers_are_grouped_by_three() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (200_000, "200,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(count(number), text);
        }
    }
}
