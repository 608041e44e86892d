//! Having the mint asked, over a socket.

use std::time::Duration;

use dashboard::{Limits, RefreshToken};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use stats_push::{RefreshError, Refreshed};

use crate::support::{Role, Server};

const PATH: &str = "/api/v1/mint/refresh";

async fn post(server: &Server, headers: &[(&str, &str)]) -> Response {
    let mut request = Client::new().post(server.url(PATH));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

async fn error(answer: Response, status: StatusCode) -> String {
    assert_eq!(answer.status(), status);
    let json: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    json["error"].as_str().unwrap().to_owned()
}

/// A pool whose mint answers so.
async fn answering(answer: Result<Refreshed, RefreshError>) -> Server {
    let server = Server::pool().await;
    *server.role.refreshed.lock().unwrap() = Some(answer);
    server
}

fn refreshed() -> Refreshed {
    Refreshed {
        request_id: 7,
        round_trip: Duration::from_micros(1412),
    }
}

#[tokio::test]
async fn an_operator_on_this_machine_has_the_mint_asked_once_a_second_at_most() {
    let server = answering(Ok(refreshed())).await;
    let answer = post(&server, &[]).await;
    assert_eq!(answer.status(), 200);
    let json: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(json, json!({ "request_id": 7, "round_trip_ms": 1.412 }));
    let again = post(&server, &[]).await;
    assert_eq!(again.headers()["retry-after"], "1");
    let line = error(again, StatusCode::TOO_MANY_REQUESTS).await;
    assert_eq!(line, "the mint is asked once a second at most");
    assert_eq!(*server.role.refreshes.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_mint_that_does_not_answer_is_told_of_with_its_reason() {
    for (reason, status, says) in [
        (RefreshError::NoMint, 503, "no mint is connected"),
        (RefreshError::Unsupported, 409, "does not support statistics"),
        (RefreshError::TooLate, 504, "within 5 s"),
        (RefreshError::Ended, 502, "ended before it answered"),
    ] {
        let server = answering(Err(reason)).await;
        let line = error(post(&server, &[]).await, StatusCode::from_u16(status).unwrap()).await;
        assert!(line.contains(says), "{line}");
    }
}

#[tokio::test]
async fn a_page_of_another_site_and_whoever_comes_through_a_proxy_ask_nothing() {
    let server = answering(Ok(refreshed())).await;
    for headers in [
        [("origin", "http://evil.example")],
        [("sec-fetch-site", "cross-site")],
        [("x-forwarded-for", "192.0.2.1")],
        [("host", "evil.example")],
    ] {
        error(post(&server, &headers).await, StatusCode::FORBIDDEN).await;
    }
    assert_eq!(*server.role.refreshes.lock().unwrap(), 0);
    let own = server.base.clone();
    let answer = post(&server, &[("origin", &own), ("sec-fetch-site", "same-origin")]).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn through_a_proxy_the_token_opens_and_a_refusal_costs_nobody_a_turn() {
    let role = Role {
        token: Some(RefreshToken::new("correct-horse-battery".to_owned()).unwrap()),
        ..Role::default()
    };
    let server = Server::start("pool", role, Limits::default()).await;
    *server.role.refreshed.lock().unwrap() = Some(Ok(refreshed()));
    let proxied = ("x-forwarded-for", "192.0.2.1");
    for wrong in ["Bearer wrong-horse-battery", "Basic correct-horse-battery"] {
        let answer = post(&server, &[proxied, ("authorization", wrong)]).await;
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        error(answer, StatusCode::UNAUTHORIZED).await;
    }
    error(post(&server, &[proxied]).await, StatusCode::UNAUTHORIZED).await;
    let answer = post(&server, &[proxied, ("authorization", "Bearer correct-horse-battery")]).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn the_path_takes_post_alone_and_a_mint_has_none() {
    let server = answering(Ok(refreshed())).await;
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer = Client::new().request(method, server.url(PATH)).send().await.unwrap();
        assert_eq!(answer.headers()["allow"], "POST");
        error(answer, StatusCode::METHOD_NOT_ALLOWED).await;
    }
    let mint = Server::start("mint", Role::default(), Limits::default()).await;
    error(post(&mint, &[]).await, StatusCode::NOT_FOUND).await;
}
