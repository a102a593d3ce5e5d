//! The headers that every answer carries, pages and errors alike.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::Dashboard;
use crate::client::{Endpoint, RequestOrigin};
use crate::with::With;

/// Adds the policy and its companions. What an answer sets itself about caching stays.
pub(crate) async fn secure(State(dashboard): State<Dashboard>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let origin = RequestOrigin::of(&parts, &dashboard);
    let mut response = next.run(Request::from_parts(parts, body)).await;
    let stripe = dashboard.billing().map_or(&[][..], |billing| billing.page_origins());
    let with = dashboard.config().with.iter().map(With::page_origin);
    let forms: Vec<String> = stripe.iter().cloned().chain(with).collect();
    let clusters: Vec<Endpoint> =
        dashboard.config().cluster_urls.values().filter_map(|url| Endpoint::parse(url)).collect();
    put(response.headers_mut(), &policy(&origin, &forms, &clusters));
    if origin.https {
        response
            .headers_mut()
            .insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    response
}

/// For an answer outside our router: the same headers, and no sockets at all.
pub(crate) fn secure_alone(response: &mut Response) {
    put(response.headers_mut(), &policy_for("", &[]));
}

fn put(headers: &mut HeaderMap, policy: &str) {
    let policy = HeaderValue::from_str(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// Sockets may go to this very host, to the public address and, with the event creator, to the clusters that the operator named; older browsers don't count `ws:` as `'self'`, hence by name. Forms may
/// lead to the pages of Stripe on a server that bills, and to the providers of sign-ins that it knows.
fn policy(origin: &RequestOrigin, forms: &[String], clusters: &[Endpoint]) -> String {
    let mut sockets = String::new();
    let public = origin.endpoint.authority();
    for host in origin.host.iter().chain((origin.host.as_ref() != Some(&public)).then_some(&public)) {
        sockets.push_str(&format!(" ws://{host} wss://{host}"));
    }
    for cluster in clusters {
        sockets.push_str(&format!(" {} {}://{}", cluster.origin(), cluster.ws_scheme(), cluster.authority()));
    }
    policy_for(&sockets, forms)
}

fn policy_for(sockets: &str, forms: &[String]) -> String {
    let forms: String = forms.iter().map(|origin| format!(" {origin}")).collect();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'{sockets}; font-src 'self'; \
         form-action 'self'{forms}; frame-ancestors 'none'; base-uri 'none'"
    )
}
