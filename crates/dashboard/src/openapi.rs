//! What the JSON paths answer, as an OpenAPI document at `/api/openapi.json`: one of a pool and one of a mint, made from
//! the very types that are written.

use serde_json::Value;
use stats_push::{Reason, Status};
use utoipa::{
    OpenApi,
    openapi::{
        ObjectBuilder,
        schema::{Object, SchemaType, Type},
    },
};

use crate::{api, history::json as history, refresh};

/// The document of a pool.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Dashboard of an ehash pool",
        description = "What the pool's mint has issued, and the pool's own side. What is not known is null, never 0.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(
        api::mint_stats,
        api::mint_stream,
        history::mint_history,
        refresh::refresh,
        api::pool_stats,
        api::quotes,
        api::healthz,
        api::readiness
    )
)]
pub(crate) struct PoolApi;

/// The document of a mint.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Dashboard of an ehash mint",
        description = "What the mint has issued, and its links to pools. What is not known is null, never 0.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(
        api::mint_stats,
        api::mint_stream,
        history::mint_history,
        api::links,
        api::healthz,
        api::readiness
    )
)]
pub(crate) struct MintApi;

/// A [`Status`].
pub(crate) fn status() -> Object {
    one_of(
        Status::ALL.map(Status::as_str).map(Value::from).to_vec(),
        Type::String.into(),
    )
}

/// A [`Reason`], or `null`.
pub(crate) fn reason_or_null() -> Object {
    let mut values = Reason::ALL.map(Reason::as_str).map(Value::from).to_vec();
    values.push(Value::Null);
    one_of(values, SchemaType::from_iter([Type::String, Type::Null]))
}

fn one_of(values: Vec<Value>, schema_type: SchemaType) -> Object {
    ObjectBuilder::new()
        .schema_type(schema_type)
        .enum_values(Some(values))
        .build()
}

/// A [`stats_push::PerState`].
pub(crate) fn per_state() -> Object {
    counts(Type::Object.into())
}

/// A [`stats_push::PerState`], or `null`.
pub(crate) fn per_state_or_null() -> Object {
    counts(SchemaType::from_iter([Type::Object, Type::Null]))
}

fn counts(schema_type: SchemaType) -> Object {
    let count = || ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).build();
    ["unpaid", "paid", "issued"]
        .into_iter()
        .fold(ObjectBuilder::new().schema_type(schema_type), |object, state| {
            object.property(state, count()).required(state)
        })
        .build()
}
