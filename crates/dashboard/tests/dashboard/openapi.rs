//! The OpenAPI document is true: each answer is checked against the schema that it names.

use std::time::Duration;

use serde_json::{Map, Value};
use stats_push::Refreshed;

use crate::support::{Role, Server, Setup, snapshot, unit};

/// Checks a value against a JSON Schema, as far as utoipa writes them. A keyword that is not known here fails.
struct Checker<'a> {
    document: &'a Value,
}

impl Checker<'_> {
    fn check(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let schema = schema.as_object().unwrap();
        for (keyword, rule) in schema {
            let fits = match keyword.as_str() {
                "$ref" => {
                    let target = self.target(rule);
                    self.check(target, value, at)?;
                    true
                }
                "allOf" => {
                    let parts = rule.as_array().unwrap();
                    parts.iter().try_for_each(|part| self.check(part, value, at))?;
                    true
                }
                "oneOf" => {
                    let parts = rule.as_array().unwrap().iter();
                    parts.filter(|part| self.check(part, value, at).is_ok()).count() == 1
                }
                "type" => {
                    let kinds = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                    kinds.iter().any(|kind| is(value, kind.as_str().unwrap()))
                }
                "enum" => rule.as_array().unwrap().contains(value),
                "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
                "format" if rule == "date-time" => value.as_str().is_none_or(|time| time.ends_with('Z')),
                "required" | "properties" | "additionalProperties" | "propertyNames" | "items" => true,
                "description" | "format" | "title" => true,
                unknown => panic!("{at}: the keyword {unknown} is not known to this test"),
            };
            if !fits {
                return Err(format!("{at}: {value} does not fit {keyword} {rule}"));
            }
        }
        match (value, schema.get("items")) {
            (Value::Object(fields), _) => self.fields(schema, fields, at),
            (Value::Array(items), Some(schema)) => items
                .iter()
                .try_for_each(|item| self.check(schema, item, &format!("{at}[]"))),
            _ => Ok(()),
        }
    }

    fn fields(&self, schema: &Map<String, Value>, fields: &Map<String, Value>, at: &str) -> Result<(), String> {
        let properties = schema.get("properties").and_then(Value::as_object);
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            let name = name.as_str().unwrap();
            if !fields.contains_key(name) {
                return Err(format!("{at}: {name} is missing"));
            }
        }
        for (name, value) in fields {
            let schema = properties
                .and_then(|properties| properties.get(name))
                .or(schema.get("additionalProperties"));
            // Of a composed object each part knows some fields, and all together know all: see `names`.
            if let Some(schema) = schema {
                self.check(schema, value, &format!("{at}.{name}"))?;
            }
        }
        Ok(())
    }

    fn target(&self, reference: &Value) -> &Value {
        let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
        self.document
            .pointer(pointer)
            .unwrap_or_else(|| panic!("{pointer} leads nowhere"))
    }

    /// All fields that a schema names, of composed ones too.
    fn names(&self, schema: &Value) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        if let Some(reference) = schema.get("$ref") {
            names.extend(self.names(self.target(reference)));
        }
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            names.extend(self.names(part));
        }
        names.extend(
            schema
                .get("properties")
                .and_then(Value::as_object)
                .into_iter()
                .flat_map(|all| all.keys().cloned()),
        );
        names
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

/// Asks each path that the document has, and checks what comes.
async fn every_answer_is_as_described(server: &Server) -> Vec<String> {
    let document = server.json("/api/openapi.json").await;
    let checker = Checker { document: &document };
    let paths = document["paths"].as_object().unwrap();
    let methods = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap();
        methods.iter().map(move |(method, described)| (path, method, described))
    });
    for (path, method, described) in methods {
        let responses = &described["responses"];
        for query in [
            "",
            "?from=x",
            "?key=02",
            "?key=02abababababababababababababababababababababababababababababababab",
        ] {
            if path.ends_with("/stream") {
                continue;
            }
            let method = method.to_uppercase().parse().unwrap();
            let url = server.url(&format!("{path}{query}"));
            let answer = reqwest::Client::new().request(method, url).send().await.unwrap();
            let status = answer.status().as_u16();
            let described = &responses[status.to_string()];
            let schema = &described["content"]["application/json"]["schema"];
            assert!(!schema.is_null(), "{path}{query}: {status} is not described");
            let value: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            checker.check(schema, &value, path).unwrap();
            let names = checker.names(schema);
            for name in value.as_object().unwrap().keys() {
                assert!(names.contains(name), "{path}: {name} is not described");
            }
        }
    }
    paths.keys().cloned().collect()
}

#[tokio::test]
async fn a_pools_answers_are_as_described_before_and_after_it_knows_something() {
    let server = Server::pool().await;
    every_answer_is_as_described(&server).await;
    let session = server.connect();
    session.apply(snapshot(42, [unit("hash", 42)]), std::time::Instant::now());
    *server.role.pool.lock().unwrap() = crate::http::pool_view();
    *server.role.quotes.lock().unwrap() = crate::http::quote_page();
    *server.role.refreshed.lock().unwrap() = Some(Ok(Refreshed {
        request_id: 7,
        round_trip: Duration::from_micros(1412),
    }));
    session.answered(Duration::from_micros(412));
    let paths = every_answer_is_as_described(&server).await;
    *server.role.trouble.lock().unwrap() = Some("no template".to_owned());
    every_answer_is_as_described(&server).await;
    let all = [
        "/api/v1/mint/refresh",
        "/api/v1/mint/stats",
        "/api/v1/mint/stats/history",
        "/api/v1/mint/stats/stream",
        "/api/v1/pool",
        "/api/v1/quotes",
        "/healthz",
        "/readyz",
    ];
    assert_eq!(paths, all);
}

#[tokio::test]
async fn a_mints_answers_are_as_described() {
    let role = Role {
        links: crate::browser::links().into(),
        ..Role::default()
    };
    let server = Setup {
        host: "mint",
        role,
        ..Setup::default()
    }
    .start()
    .await;
    let session = server.connect();
    session.apply(snapshot(42, [unit("hash", 42)]), std::time::Instant::now());
    let paths = every_answer_is_as_described(&server).await;
    assert!(
        paths.contains(&"/api/v1/links".to_owned()) && !paths.contains(&"/api/v1/pool".to_owned()),
        "{paths:?}"
    );
}
