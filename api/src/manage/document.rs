//! The document of the API, OpenAPI 3.1: the frame around the operations, and what all of them share, so that no handler has to
//! repeat it.

use serde_json::{Map, Value, json};
use tenancy::token::Scope;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;

use super::error::{ErrorAnswer, ErrorFacts};
use super::idempotency::KEY_CHARS_MAX;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Fanfare management API",
        version = "1",
        license(name = "MIT", identifier = "MIT"),
        description = "Apps, keys, people, usage, limits, billing, webhooks, events and the audit log of one organisation. \
            Send a token that was made under API tokens: `Authorization: Bearer ff_…`. All times are UTC."
    ),
    servers((url = "/", description = "This server")),
    tags(
        (name = "Token", description = "What the token is, and where it works"),
        (name = "Apps", description = "Apps and their settings"),
        (name = "Keys", description = "Key pairs of an app"),
        (name = "Events", description = "Publish, and watch what happens"),
        (name = "Usage", description = "What is used, and what may be"),
        (name = "Billing", description = "The plan, and how it is paid"),
        (name = "Webhooks", description = "Endpoints, deliveries, sending again"),
        (name = "People", description = "Members and invitations"),
        (name = "Audit log", description = "What was done, by whom")
    ),
    components(schemas(ErrorAnswer, ErrorFacts))
)]
struct Frame;

pub(super) fn skeleton() -> Document {
    Frame::openapi()
}

/// Statuses that any operation may answer with: status, words.
const ALWAYS: [(&str, &str); 4] = [
    ("401", "No token, or one that opens nothing"),
    ("403", "The token's scopes, or the role of its person, don't allow it"),
    ("429", "Too many requests of this token; `Retry-After` says when to go on"),
    ("503", "The server can't do it right now; `Retry-After` says when to go on"),
];
/// Those of operations with a parameter.
const WITH_PARAMETERS: [(&str, &str); 2] = [
    ("404", "There is no such thing that this token sees"),
    ("422", "A parameter or field can't be what it is"),
];
/// Those of operations with a body.
const WITH_BODY: [(&str, &str); 4] = [
    ("400", "The body is no JSON"),
    ("413", "The body is too large"),
    ("415", "The body is not sent as application/json"),
    ("422", "A parameter or field can't be what it is"),
];

/// Those of operations that take an `Idempotency-Key`.
const WITH_KEY: [(&str, &str); 3] = [
    ("409", "The `Idempotency-Key` was used for another request, or its request is under way"),
    ("413", "The body is too large"),
    ("422", "A parameter or field can't be what it is"),
];

/// Adds what all operations share.
pub(super) fn complete(document: Document) -> Value {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    let scopes: Map<String, Value> =
        Scope::ALL.iter().map(|scope| (scope.name().to_owned(), scope.words().into())).collect();
    document["components"]["securitySchemes"] = json!({
        "token": { "type": "http", "scheme": "bearer", "description": "A token of the form `ff_…`.", "x-scopes": scopes }
    });
    let paths = document["paths"].as_object_mut();
    for (method, operation) in
        paths.into_iter().flatten().flat_map(|(_, item)| item.as_object_mut()).flatten()
    {
        let has = |name: &str, operation: &Value| operation.get(name).is_some_and(|value| !value.is_null());
        let mut statuses: Vec<(&str, &str)> = ALWAYS.to_vec();
        if has("parameters", operation) {
            statuses.extend(WITH_PARAMETERS);
        }
        if has("requestBody", operation) {
            statuses.extend(WITH_BODY);
        }
        if method == "post" {
            statuses.extend(WITH_KEY);
            may_be_repeated(operation);
        }
        for (status, words) in statuses {
            if operation["responses"].get(status).is_none() {
                operation["responses"][status] = refused(words);
            }
        }
    }
    document
}

/// Names the header `Idempotency-Key`, and that of an answer that comes again.
fn may_be_repeated(operation: &mut Value) {
    let key = json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "The same request under the same key within 24 hours is not done again: its first answer comes again.",
        "schema": { "type": "string", "minLength": 1, "maxLength": KEY_CHARS_MAX, "pattern": "^[!-~]+$" }
    });
    match operation["parameters"].as_array_mut() {
        Some(parameters) => parameters.push(key),
        None => operation["parameters"] = json!([key]),
    }
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        if status.starts_with('2') {
            response["headers"]["Idempotent-Replayed"] = json!({
                "description": "`true`: this answer was given before, under the same `Idempotency-Key`",
                "schema": { "type": "string" }
            });
        }
    }
}

fn refused(words: &str) -> Value {
    json!({
        "description": words,
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/ErrorAnswer" } } }
    })
}
