//! `/dash/server/plans`: plans as quota templates. An edit reaches every node within a second and disconnects nobody. No prices: those
//! are settings of billing.

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use tenancy::audit::Action;
use tenancy::plan::Plan;
use tenancy::quota::{self, Numbers, QuotaError, Template as Quota};

use crate::error::PageError;
use crate::page::{Frame, count, html, html_with};
use crate::server_admin::ServerAdmin;
use crate::server_facts::ServerSection;
use crate::session::CurrentUser;
use crate::{Dashboard, acts};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/dash/server/plans", get(show))
        .route("/dash/server/plans/new", post(create))
        .route("/dash/server/plans/{plan}/edit", post(edit))
        .route("/dash/server/plans/{plan}/remove", post(remove))
}

/// The four numbers of a form as texts; empty is no limit.
#[derive(Clone, Debug, Default, Deserialize)]
struct NumbersForm {
    #[serde(default)]
    name: String,
    connections: String,
    messages: String,
    publishes: String,
    reads: String,
}

impl NumbersForm {
    fn of(numbers: &Numbers) -> NumbersForm {
        let large = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
        let small = |n: Option<u32>| n.map(|n| n.to_string()).unwrap_or_default();
        NumbersForm {
            name: String::new(),
            connections: large(numbers.connections_max),
            messages: large(numbers.messages_per_day_max),
            publishes: small(numbers.publishes_per_second_max),
            reads: small(numbers.reads_per_second_max),
        }
    }

    /// `None` if a field is no number.
    fn read(&self) -> Option<Numbers> {
        fn number<T: std::str::FromStr>(text: &str) -> Option<Option<T>> {
            let digits: String = text.chars().filter(|c| !matches!(c, ' ' | ',' | '_')).collect();
            match digits.is_empty() {
                true => Some(None),
                false if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok().map(Some),
                false => None,
            }
        }
        Some(Numbers {
            connections_max: number(&self.connections)?,
            messages_per_day_max: number(&self.messages)?,
            publishes_per_second_max: number(&self.publishes)?,
            reads_per_second_max: number(&self.reads)?,
        })
    }
}

struct Row {
    quota: Quota,
    own: bool,
    used: u64,
    form: NumbersForm,
    error: Option<&'static str>,
}

impl Row {
    fn limit(number: Option<u64>) -> String {
        number.map_or_else(|| "unlimited".to_owned(), count)
    }

    fn connections(&self) -> String {
        Row::limit(self.quota.numbers.connections_max)
    }

    fn messages(&self) -> String {
        Row::limit(self.quota.numbers.messages_per_day_max)
    }

    fn rates(&self) -> String {
        let numbers = &self.quota.numbers;
        let small = |n: Option<u32>| Row::limit(n.map(u64::from));
        format!(
            "{} publishes and {} other calls a second",
            small(numbers.publishes_per_second_max),
            small(numbers.reads_per_second_max)
        )
    }
}

#[derive(Template)]
#[template(path = "server_plans.html")]
struct PlansPage {
    frame: Frame,
    section: ServerSection,
    rows: Vec<Row>,
    new: NumbersForm,
    new_error: Option<&'static str>,
    bills: bool,
    done: Option<&'static str>,
}

impl PlansPage {
    async fn load(current: &CurrentUser, dashboard: &Dashboard) -> Result<PlansPage, PageError> {
        let row = |quota: Quota| Row {
            own: matches!(quota.plan, Plan::Own(_)),
            used: quota.organisations + quota.apps,
            form: NumbersForm::of(&quota.numbers),
            error: None,
            quota,
        };
        Ok(PlansPage {
            frame: Frame::new(current),
            section: ServerSection::Plans,
            rows: quota::all(dashboard.db()).await?.into_iter().map(row).collect(),
            new: NumbersForm::default(),
            new_error: None,
            bills: dashboard.billing().is_some(),
            done: None,
        })
    }
}

/// `None`: it failed on our side.
fn sentence(error: QuotaError) -> Result<&'static str, PageError> {
    Ok(match error {
        QuotaError::NameInvalid => {
            "A name has 1 to 30 lower-case letters, digits and dashes, such as team-large."
        }
        QuotaError::NameTaken => "There is a plan with this name already.",
        QuotaError::NumberInvalid => NUMBERS,
        QuotaError::TooMany => "There are 100 plans with numbers of their own, the most there can be.",
        QuotaError::InUse => "It is in use: put its organisations on another plan first.",
        QuotaError::NotFound => return Err(PageError::NotFound),
        QuotaError::Db(error) => return Err(error.into()),
    })
}

const NUMBERS: &str =
    "Whole numbers up to 1,000,000,000,000 (rates: 4,000,000,000); an empty field is no limit.";

#[derive(Deserialize)]
struct Done {
    done: Option<String>,
}

async fn show(
    ServerAdmin(current): ServerAdmin,
    State(dashboard): State<Dashboard>,
    Query(query): Query<Done>,
) -> Result<Response, PageError> {
    let mut page = PlansPage::load(&current, &dashboard).await?;
    page.done = match query.done.as_deref() {
        Some("saved") => Some("Saved. Nodes follow within a second; nobody was disconnected."),
        Some("removed") => Some("Removed."),
        Some("reset") => Some("It has the numbers of the catalogue again."),
        _ => None,
    };
    html(&page)
}

async fn create(
    ServerAdmin(current): ServerAdmin,
    State(dashboard): State<Dashboard>,
    form: Result<Form<NumbersForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let error = match form.read() {
        None => NUMBERS,
        Some(numbers) => match quota::put(dashboard.db(), form.name.trim(), numbers, true).await {
            Ok(plan) => return saved(&current, &dashboard, plan, &form, "saved").await,
            Err(error) => sentence(error)?,
        },
    };
    let mut page = PlansPage::load(&current, &dashboard).await?;
    (page.new, page.new_error) = (form, Some(error));
    html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

async fn edit(
    ServerAdmin(current): ServerAdmin,
    State(dashboard): State<Dashboard>,
    Path(name): Path<String>,
    form: Result<Form<NumbersForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let error = match form.read() {
        None => NUMBERS,
        Some(numbers) => match quota::put(dashboard.db(), &name, numbers, false).await {
            Ok(plan) => return saved(&current, &dashboard, plan, &form, "saved").await,
            Err(error) => sentence(error)?,
        },
    };
    let mut page = PlansPage::load(&current, &dashboard).await?;
    for row in page.rows.iter_mut().filter(|row| row.quota.plan.name() == name) {
        (row.form, row.error) = (form.clone(), Some(error));
    }
    html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

async fn saved(
    current: &CurrentUser,
    dashboard: &Dashboard,
    plan: Plan,
    form: &NumbersForm,
    done: &str,
) -> Result<Response, PageError> {
    let details = json!({ "plan": plan.name(), "connections": form.connections, "messages": form.messages,
        "publishes": form.publishes, "reads": form.reads });
    acts::of_person(dashboard, &current.by(), Action::ServerPlan, details).await;
    Ok(Redirect::to(&format!("/dash/server/plans?done={done}")).into_response())
}

async fn remove(
    ServerAdmin(current): ServerAdmin,
    State(dashboard): State<Dashboard>,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    match quota::remove(dashboard.db(), &name).await {
        Ok(()) => {
            let details = json!({ "plan": name, "removed": true });
            acts::of_person(&dashboard, &current.by(), Action::ServerPlan, details).await;
            let done = if Plan::parse(&name).is_some() { "reset" } else { "removed" };
            Ok(Redirect::to(&format!("/dash/server/plans?done={done}")).into_response())
        }
        Err(error) => {
            let error = sentence(error)?;
            let mut page = PlansPage::load(&current, &dashboard).await?;
            page.rows
                .iter_mut()
                .filter(|row| row.quota.plan.name() == name)
                .for_each(|row| row.error = Some(error));
            html_with(StatusCode::CONFLICT, &page)
        }
    }
}
