//! `/docs/api`: the management API in words, made from its own document (OpenAPI), which the server hands in. For everybody, signed
//! in or not; nothing of an organisation is shown. Rendered on the server, without a script.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use serde_json::Value;
use tenancy::token::Scope;

use crate::Dashboard;
use crate::client::Endpoint;
use crate::error::PageError;
use crate::headers;
use crate::page::html;

/// The page over a document of the API, to be merged with [`crate::router`].
pub fn router(dashboard: Dashboard, document: &Value) -> Router {
    let reference = Arc::new(Reference::read(document));
    Router::new()
        .route("/docs/api", get(show))
        .layer(Extension(reference))
        .layer(from_fn_with_state(dashboard.clone(), headers::secure))
        .with_state(dashboard)
}

/// What the page shows, read once.
#[derive(Debug)]
struct Reference {
    groups: Vec<Group>,
}

/// Operations that belong together.
#[derive(Debug)]
struct Group {
    name: String,
    text: String,
    operations: Vec<Operation>,
}

#[derive(Debug)]
struct Operation {
    id: String,
    method: String,
    path: String,
    title: String,
    text: String,
    /// The scope that it needs; empty: any token.
    scope: String,
    parameters: Vec<Field>,
    body: Vec<Field>,
    answer: Vec<Field>,
    /// Status and words.
    statuses: Vec<(String, String)>,
    /// The body of the example, if it has one.
    example: Option<String>,
}

/// A parameter, or a field of a body or an answer.
#[derive(Debug)]
struct Field {
    name: String,
    kind: String,
    required: bool,
    text: String,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The parts of an object or a list; nothing for anything else.
fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

impl Reference {
    fn read(document: &Value) -> Reference {
        let mut groups: Vec<Group> = items(&document["tags"])
            .map(|tag| Group {
                name: text(&tag["name"]),
                text: text(&tag["description"]),
                operations: Vec::new(),
            })
            .collect();
        for (path, item) in entries(&document["paths"]) {
            // In the order in which people think of them.
            for method in ["get", "post", "patch", "delete"] {
                let operation = &item[method];
                if let Some(group) = groups.iter_mut().find(|group| operation["tags"][0] == group.name) {
                    group.operations.push(Operation::read(document, path, method, operation));
                }
            }
        }
        Reference { groups }
    }
}

impl Operation {
    fn read(document: &Value, path: &str, method: &str, operation: &Value) -> Operation {
        let json = "application/json";
        let body = &operation["requestBody"]["content"][json]["schema"];
        let success = entries(&operation["responses"]).find(|(status, _)| status.starts_with('2'));
        let answer = success.map_or(&Value::Null, |(_, answer)| &answer["content"][json]["schema"]);
        Operation {
            id: text(&operation["operationId"]),
            method: method.to_uppercase(),
            path: path.to_owned(),
            title: text(&operation["summary"]),
            text: text(&operation["description"]),
            scope: text(&operation["security"][0]["token"][0]),
            parameters: items(&operation["parameters"])
                .map(|one| Field {
                    name: text(&one["name"]),
                    kind: kind(document, &one["schema"]),
                    required: one["required"] == true,
                    text: text(&one["description"]),
                })
                .collect(),
            body: fields(document, body),
            answer: fields(document, answer),
            statuses: entries(&operation["responses"])
                .map(|(status, answer)| (status.clone(), text(&answer["description"])))
                .collect(),
            example: (!body.is_null()).then(|| example(document, body, 0).to_string()),
        }
    }

    /// As a command, with this server's address.
    fn curl(&self, origin: &str) -> String {
        let method = if self.method == "GET" { String::new() } else { format!("-X {} ", self.method) };
        let path = self.path.replace('{', "$").replace('}', "");
        let mut out =
            format!("curl {method}\"{origin}{path}\" \\\n  -H \"Authorization: Bearer $FANFARE_TOKEN\"");
        if let Some(body) = &self.example {
            out.push_str(" \\\n  -H \"Content-Type: application/json\" \\\n  -d '");
            out.push_str(&body.replace('\'', r"'\''"));
            out.push('\'');
        }
        out
    }
}

/// What a `$ref` stands for.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let name = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/components/schemas/"));
    name.map_or(schema, |name| &document["components"]["schemas"][name])
}

/// The one that is not null, of a schema that may be null.
fn present<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let choices = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
    let one = choices.and_then(|all| all.iter().find(|one| one["type"] != "null"));
    resolved(document, one.unwrap_or(schema))
}

/// A type in words: `text`, `number, 1 to 168`, `list of text`, `now, 1h or idle`.
fn kind(document: &Value, schema: &Value) -> String {
    let schema = present(document, schema);
    let values: Vec<String> = match schema["oneOf"].as_array() {
        Some(all) => all.iter().flat_map(|one| items(&one["enum"])).map(text).collect(),
        None => items(&schema["enum"]).map(text).collect(),
    };
    if let [first @ .., last] = values.as_slice() {
        return if first.is_empty() { last.clone() } else { format!("{} or {last}", first.join(", ")) };
    }
    let names: Vec<&str> = match &schema["type"] {
        Value::Array(all) => all.iter().filter_map(Value::as_str).filter(|one| *one != "null").collect(),
        one => one.as_str().into_iter().collect(),
    };
    let bounds = match (schema["minimum"].as_u64(), schema["maximum"].as_u64()) {
        (Some(from), Some(to)) => format!(", {from} to {to}"),
        _ => String::new(),
    };
    match (names.first().copied(), schema["format"].as_str()) {
        (Some("string"), Some("date-time")) => "time".to_owned(),
        (Some("string"), Some("date")) => "day".to_owned(),
        (Some("string"), _) => "text".to_owned(),
        (Some("integer" | "number"), _) => format!("number{bounds}"),
        (Some("boolean"), _) => "true or false".to_owned(),
        (Some("array"), _) => format!("list of {}", kind(document, &schema["items"])),
        (Some("object"), _) => "object".to_owned(),
        _ => "any JSON".to_owned(),
    }
}

/// The fields of an object, those of objects inside it too (`settings.watchlist`, `data[].id`).
fn fields(document: &Value, schema: &Value) -> Vec<Field> {
    let mut out = Vec::new();
    collect(document, schema, "", 0, &mut out);
    out
}

/// Objects are read this deep.
const DEPTH_MAX: u32 = 3;

fn collect(document: &Value, schema: &Value, prefix: &str, depth: u32, out: &mut Vec<Field>) {
    let schema = present(document, schema);
    for (name, field) in entries(&schema["properties"]) {
        let own = present(document, field);
        let name = format!("{prefix}{name}");
        let said = [&field["description"], &own["description"]].into_iter().find_map(Value::as_str);
        out.push(Field {
            kind: kind(document, field),
            required: items(&schema["required"]).any(|one| name.ends_with(one.as_str().unwrap_or("\0"))),
            text: said.unwrap_or_default().to_owned(),
            name: name.clone(),
        });
        let inner = present(document, &own["items"]);
        if depth < DEPTH_MAX && own["properties"].is_object() {
            collect(document, own, &format!("{name}."), depth + 1, out);
        } else if depth < DEPTH_MAX && inner["properties"].is_object() {
            collect(document, inner, &format!("{name}[]."), depth + 1, out);
        }
    }
}

/// A value that fits: the examples of the document, else the plainest of its type. Of a body only what it must have, or, if that
/// is nothing, its first field.
fn example(document: &Value, schema: &Value, depth: u32) -> Value {
    let given = [&schema["example"], &present(document, schema)["example"]];
    if let Some(given) = given.into_iter().find(|value| !value.is_null()) {
        return given.clone();
    }
    let schema = present(document, schema);
    let first =
        schema["oneOf"].as_array().and_then(|all| all.first()).map_or(&schema["enum"], |one| &one["enum"]);
    if let Some(value) = items(first).next() {
        return value.clone();
    }
    if depth > DEPTH_MAX {
        return Value::Null;
    }
    let kind = schema["type"].as_str().or(schema["type"][0].as_str()).unwrap_or_default();
    match kind {
        "string" => Value::from("text"),
        "integer" | "number" => schema["minimum"].as_u64().unwrap_or(1).into(),
        "boolean" => Value::from(true),
        "array" => Value::from(vec![example(document, &schema["items"], depth + 1)]),
        "object" => {
            let needed: Vec<&str> = items(&schema["required"]).filter_map(Value::as_str).collect();
            let fields = entries(&schema["properties"]).enumerate();
            let chosen = fields.filter(|(i, (name, _))| match needed.is_empty() {
                true => *i == 0,
                false => needed.contains(&name.as_str()),
            });
            chosen.map(|(_, (name, field))| (name.clone(), example(document, field, depth + 1))).collect()
        }
        _ => Value::Null,
    }
}

#[derive(Template)]
#[template(path = "api_reference.html")]
struct ReferencePage {
    reference: Arc<Reference>,
    origin: String,
    scopes: &'static [Scope],
}

async fn show(
    Extension(reference): Extension<Arc<Reference>>,
    State(_): State<Dashboard>,
    endpoint: Endpoint,
) -> Result<Response, PageError> {
    html(&ReferencePage { reference, origin: endpoint.origin(), scopes: Scope::ALL })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document() -> Value {
        json!({
            "tags": [{ "name": "Apps", "description": "Apps and their settings" }],
            "paths": { "/v1/apps/{id}": {
                "delete": { "operationId": "delete_app", "summary": "Deletes", "tags": ["Apps"], "responses": { "204": { "description": "gone" } } },
                "patch": {
                    "operationId": "update_app", "summary": "Changes", "tags": ["Apps"],
                    "security": [{ "token": ["apps:write"] }],
                    "parameters": [{ "name": "id", "required": true, "schema": { "type": "integer" } }],
                    "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Patch" } } } },
                    "responses": { "200": { "description": "" }, "404": { "description": "none" } }
                }
            } },
            "components": { "schemas": { "Patch": {
                "type": "object", "required": ["name", "when"],
                "properties": {
                    "name": { "type": ["string", "null"], "example": "it's", "description": "Its name" },
                    "when": { "oneOf": [{ "type": "null" }, { "type": "string", "enum": ["now", "1h", "idle"] }] },
                    "origins": { "type": "array", "items": { "type": "object", "properties": { "host": { "type": "string" } } } }
                }
            } } }
        })
    }

    #[test]
    fn operations_are_read_in_the_order_of_people_with_all_of_their_fields() {
        let reference = Reference::read(&document());
        let operations = &reference.groups[0].operations;
        assert_eq!(operations.iter().map(|one| one.method.as_str()).collect::<Vec<_>>(), ["PATCH", "DELETE"]);
        let patch = &operations[0];
        assert_eq!((patch.scope.as_str(), patch.parameters[0].kind.as_str()), ("apps:write", "number"));
        let told: Vec<(&str, &str, bool)> = patch
            .body
            .iter()
            .map(|field| (field.name.as_str(), field.kind.as_str(), field.required))
            .collect();
        let expected = [
            ("name", "text", true),
            ("origins", "list of object", false),
            ("origins[].host", "text", false),
            ("when", "now, 1h or idle", true),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn the_command_is_one_that_a_shell_takes() {
        let reference = Reference::read(&document());
        let curl = reference.groups[0].operations[0].curl("https://ws.example");
        assert!(curl.starts_with("curl -X PATCH \"https://ws.example/v1/apps/$id\""), "{curl}");
        assert!(curl.ends_with(r#"-d '{"name":"it'\''s","when":"now"}'"#), "{curl}");
    }
}
