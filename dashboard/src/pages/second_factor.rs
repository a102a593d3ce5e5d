//! `/dash/account/two-step`: setting a second factor up, its recovery codes, and switching it off. The one page besides the
//! account's that members of an organisation see which requires it, until they have it.

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tenancy::audit::Action;
use tenancy::second_factor::{self, ConfirmError, Standing, TurnOffError, totp};

use crate::client::ClientAddr;
use crate::error::PageError;
use crate::page::{Frame, encode, html, html_with, moment};
use crate::proof::{self, Ask, Refused, WRONG_CODE};
use crate::session::{CurrentUser, session_token};
use crate::{Dashboard, acts, qr};

/// Where it is.
pub(crate) const PATH: &str = "/dash/account/two-step";
/// What authenticator apps call this service.
const ISSUER: &str = "Fanfare";

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/dash/account/two-step", get(show))
        .route("/dash/account/two-step/begin", post(begin))
        .route("/dash/account/two-step/confirm", post(confirm))
        .route("/dash/account/two-step/codes", post(codes))
        .route("/dash/account/two-step/off", post(turn_off))
}

#[derive(Template)]
#[template(path = "second_factor.html")]
struct FactorPage {
    frame: Frame,
    step: Step,
    /// The organisation that requires it, and nothing of which is seen until then.
    locked_by: Option<String>,
    error: Option<String>,
}

/// How far they are.
enum Step {
    /// It is off; what beginning asks for.
    Off(Ask),
    /// A picture to scan, the secret in groups, and the address for apps on the same device.
    Begun { picture: String, secret: String, address: String },
    /// It is on.
    On { since: String, left: u64 },
}

impl Step {
    async fn of(dashboard: &Dashboard, current: &CurrentUser) -> Result<Step, PageError> {
        let (db, user) = (dashboard.db(), current.user());
        match second_factor::standing(db, &user.id).await? {
            Standing::On { since_ms, codes_left } => {
                return Ok(Step::On { since: moment(since_ms), left: codes_left });
            }
            Standing::Off | Standing::Begun => {}
        }
        // What was begun is shown to who proved a while ago who they are, and to nobody who finds the session open later.
        let ask = proof::asked(dashboard, current).await?;
        let begun = match ask {
            Ask::Nothing => second_factor::set_up(db, &user.id).await?,
            _ => None,
        };
        let Some(begun) = begun else { return Ok(Step::Off(ask)) };
        let secret = begun.secret.expose();
        let address = format!(
            "otpauth://totp/{ISSUER}:{}?secret={secret}&issuer={ISSUER}&algorithm=SHA1&digits={}&period={}",
            encode(&user.email),
            totp::DIGITS,
            totp::STEP_MS / 1_000
        );
        let groups: Vec<String> =
            secret.as_bytes().chunks(4).map(|group| String::from_utf8_lossy(group).into_owned()).collect();
        Ok(Step::Begun { picture: qr::svg(&address).unwrap_or_default(), secret: groups.join(" "), address })
    }
}

impl FactorPage {
    async fn load(dashboard: &Dashboard, current: &CurrentUser) -> Result<FactorPage, PageError> {
        let locked = current.here().filter(|here| here.is_locked);
        Ok(FactorPage {
            frame: Frame::new(current),
            step: Step::of(dashboard, current).await?,
            locked_by: locked.map(|here| here.account.name.clone()),
            error: None,
        })
    }
}

/// Recovery codes, in the one answer that has them.
#[derive(Template)]
#[template(path = "recovery_codes.html")]
struct CodesPage {
    frame: Frame,
    codes: Vec<String>,
    /// They come with the second factor itself.
    first: bool,
}

impl CodesPage {
    /// A file of them, made by the browser.
    fn download(&self) -> String {
        let text = format!(
            "Recovery codes of {}, each works once:\n\n{}\n",
            self.frame.email,
            self.codes.join("\n")
        );
        format!("data:text/plain;charset=utf-8,{}", encode(&text))
    }
}

async fn show(current: CurrentUser, State(dashboard): State<Dashboard>) -> Result<Response, PageError> {
    html(&FactorPage::load(&dashboard, &current).await?)
}

async fn again(
    dashboard: &Dashboard,
    current: &CurrentUser,
    refused: Refused,
) -> Result<Response, PageError> {
    let mut page = FactorPage::load(dashboard, current).await?;
    page.error = Some(refused.sentence());
    refused.answer(&page)
}

#[derive(Deserialize)]
struct Password {
    #[serde(default)]
    password: String,
}

async fn begin(
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
    ClientAddr(ip): ClientAddr,
    form: Result<Form<Password>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    if !current.second_factor() && proof::asked(&dashboard, &current).await? != Ask::Nothing {
        // A borrowed session must not lock its owner out.
        if let Err(refused) = proof::prove(&dashboard, &current, ip, &form.password, "").await? {
            return again(&dashboard, &current, refused).await;
        }
    }
    second_factor::begin(dashboard.db(), &current.user().id).await?;
    Ok(Redirect::to(PATH).into_response())
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

async fn confirm(
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
    headers: HeaderMap,
    form: Result<Form<Code>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let (db, id) = (dashboard.db(), &current.user().id);
    if proof::asked(&dashboard, &current).await? != Ask::Nothing {
        return Ok(Redirect::to(PATH).into_response());
    }
    if let Err(wait) = dashboard.codes().check(id) {
        return again(&dashboard, &current, Refused::Wait(wait)).await;
    }
    let keep = session_token(&headers).unwrap_or_default();
    let codes = match second_factor::confirm(db, id, &form.code, keep).await {
        Ok(codes) => codes,
        Err(ConfirmError::NotBegun) => return Ok(Redirect::to(PATH).into_response()),
        Err(ConfirmError::Db(error)) => return Err(error.into()),
        Err(ConfirmError::Wrong) => {
            let mut page = FactorPage::load(&dashboard, &current).await?;
            page.error = Some(
                "This code isn't right. Check that the clock of your device is, and give the newest code."
                    .to_owned(),
            );
            return html_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
        }
    };
    dashboard.codes().succeeded(id);
    acts::of_person(&dashboard, &current.by(), Action::SecondFactorOn, Value::Null).await;
    html(&CodesPage { frame: Frame::new(&current), codes, first: true })
}

async fn codes(
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
    form: Result<Form<Code>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let id = &current.user().id;
    if let Err(wait) = dashboard.codes().check(id) {
        return again(&dashboard, &current, Refused::Wait(wait)).await;
    }
    let Some(codes) = second_factor::new_codes(dashboard.db(), id, &form.code).await? else {
        return again(&dashboard, &current, Refused::Code).await;
    };
    dashboard.codes().succeeded(id);
    acts::of_person(&dashboard, &current.by(), Action::RecoveryCodes, Value::Null).await;
    html(&CodesPage { frame: Frame::new(&current), codes, first: false })
}

async fn turn_off(
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
    form: Result<Form<Code>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let id = &current.user().id;
    if let Err(wait) = dashboard.codes().check(id) {
        return again(&dashboard, &current, Refused::Wait(wait)).await;
    }
    let mut page = match second_factor::turn_off(dashboard.db(), id, &form.code).await {
        Ok(_) => {
            dashboard.codes().succeeded(id);
            acts::of_person(&dashboard, &current.by(), Action::SecondFactorOff, Value::Null).await;
            return Ok(Redirect::to("/dash/account?done=two-step-off").into_response());
        }
        Err(TurnOffError::Db(error)) => return Err(error.into()),
        Err(TurnOffError::Wrong) => {
            let mut page = FactorPage::load(&dashboard, &current).await?;
            page.error = Some(WRONG_CODE.to_owned());
            page
        }
        Err(TurnOffError::Required(name)) => {
            let mut page = FactorPage::load(&dashboard, &current).await?;
            page.error =
                Some(format!("{name} requires two-step sign-in, so it stays on while you are a member."));
            page
        }
    };
    page.locked_by = None;
    html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}
