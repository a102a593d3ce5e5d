//! How requests are read: bodies, queries and paths, each refused in the one form of `error`, and rules that several fields share.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::Manage;
use super::error::Refusal;

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Manage> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &Manage) -> Result<Self, Refusal> {
        let Json(body) = Json::from_request(request, state).await?;
        Ok(Body(body))
    }
}

/// The query.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Manage> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &Manage) -> Result<Self, Refusal> {
        let Query(query) = Query::from_request_parts(parts, state).await?;
        Ok(Asked(query))
    }
}

/// Parts of the path.
pub(super) struct At<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Manage> for At<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &Manage) -> Result<Self, Refusal> {
        let Path(path) = Path::from_request_parts(parts, state).await?;
        Ok(At(path))
    }
}

/// A time as ISO 8601 in UTC, to the millisecond.
pub(super) fn iso(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map(|at| format!("{at:.3}")).unwrap_or_default()
}

/// [`iso`], where 0 means never.
pub(super) fn iso_or_never(ms: i64) -> Option<String> {
    (ms > 0).then(|| iso(ms))
}

/// How many rows of a page were asked for.
pub(super) fn limit(asked: Option<u32>, max: u32) -> Result<u32, Refusal> {
    match asked {
        None => Ok(50.min(max)),
        Some(limit) if (1..=max).contains(&limit) => Ok(limit),
        Some(_) => Err(Refusal::invalid("limit", format!("the limit is a number from 1 to {max}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_iso_in_utc() {
        assert_eq!(iso(1_795_503_600_120), "2026-11-24T07:00:00.120Z");
        assert_eq!(iso_or_never(0), None);
    }

    #[test]
    fn a_limit_is_within_its_page() {
        assert_eq!((limit(None, 200), limit(Some(1), 200), limit(Some(200), 200)), (Ok(50), Ok(1), Ok(200)));
        assert!(limit(Some(0), 200).is_err() && limit(Some(201), 200).is_err());
    }
}
