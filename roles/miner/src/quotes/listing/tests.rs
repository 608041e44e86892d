use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

use super::*;

const PER_PAGE: usize = 3;

/// A pool's page with a list that can be changed.
#[derive(Clone, Default)]
struct Pool {
    quotes: Arc<Mutex<Vec<String>>>,
    asked: Arc<Mutex<Vec<usize>>>,
    answer: Arc<Mutex<Option<Answer>>>,
}

type Answer = (StatusCode, String);

#[derive(Deserialize)]
struct Params {
    key: String,
    after: usize,
}

async fn list(State(pool): State<Pool>, Query(params): Query<Params>) -> axum::response::Response {
    assert_eq!(params.key, "02ab");
    pool.asked.lock().unwrap().push(params.after);
    if let Some(answer) = pool.answer.lock().unwrap().clone() {
        return answer.into_response();
    }
    let all = pool.quotes.lock().unwrap().clone();
    let page: Vec<_> = all.iter().skip(params.after).take(PER_PAGE).collect();
    let next = (page.len() == PER_PAGE).then(|| (params.after + PER_PAGE).to_string());
    let quotes: Vec<_> = page
        .iter()
        .map(|id| serde_json::json!({"quote_id": id, "amount": "8", "unit": "hash"}))
        .collect();
    Json(serde_json::json!({"key": params.key, "quotes": quotes, "next": next})).into_response()
}

impl Pool {
    async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route(PATH, get(list)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }

    fn add(&self, ids: std::ops::Range<u32>) {
        self.quotes.lock().unwrap().extend(ids.map(|id| id.to_string()));
    }

    fn asked(&self) -> Vec<usize> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

async fn new_of(listing: &mut Listing) -> Result<Vec<String>, ListingError> {
    let (sender, mut ids) = mpsc::channel(100);
    let count = listing.read_new(&sender).await?;
    drop(sender);
    let mut new = Vec::new();
    while let Some(id) = ids.recv().await {
        new.push(id);
    }
    assert_eq!(new.len(), count);
    Ok(new)
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|id| id.to_string()).collect()
}

#[tokio::test]
async fn each_quote_comes_once_and_the_list_is_read_on_from_where_it_ended() {
    let pool = Pool::default();
    let mut listing = Listing::new(&format!("http://{}/", pool.serve().await), "02ab".to_owned());
    assert!(new_of(&mut listing).await.unwrap().is_empty());
    pool.add(0..8);
    assert_eq!(new_of(&mut listing).await.unwrap(), numbers(0..8));
    pool.asked();
    assert!(new_of(&mut listing).await.unwrap().is_empty());
    assert_eq!(pool.asked(), [0, 6]);
    pool.add(8..13);
    assert_eq!(new_of(&mut listing).await.unwrap(), numbers(8..13));
    assert_eq!(pool.asked(), [0, 6, 9, 12]);
    // Exactly a page's end.
    pool.add(13..15);
    assert_eq!(new_of(&mut listing).await.unwrap(), numbers(13..15));
    assert!(new_of(&mut listing).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_list_that_has_begun_anew_is_read_as_a_whole() {
    let pool = Pool::default();
    let mut listing = Listing::new(&format!("http://{}", pool.serve().await), "02ab".to_owned());
    pool.add(0..8);
    new_of(&mut listing).await.unwrap();
    pool.quotes.lock().unwrap().clear();
    pool.add(100..105);
    assert_eq!(new_of(&mut listing).await.unwrap(), numbers(100..105));
    pool.quotes.lock().unwrap().clear();
    assert!(new_of(&mut listing).await.unwrap().is_empty());
    pool.add(100..101);
    assert_eq!(new_of(&mut listing).await.unwrap(), numbers(100..101));
}

#[tokio::test]
async fn what_a_page_says_wrong_is_an_error_and_no_loop() {
    let pool = Pool::default();
    let mut listing = Listing::new(&format!("http://{}", pool.serve().await), "02ab".to_owned());
    for (status, body, complaint) in [
        (404, "", "answers 404 to /api/v1/quotes"),
        (200, "<html>", "can't be understood"),
        (
            200,
            r#"{"quotes":[{"quote_id":"a"}],"next":"0"}"#,
            "next = \"0\" after 0",
        ),
        (200, r#"{"quotes":[{"quote_id":"a"}],"next":"../x"}"#, "next = \"../x\""),
    ] {
        *pool.answer.lock().unwrap() = Some((StatusCode::from_u16(status).unwrap(), body.to_owned()));
        let error = new_of(&mut listing).await.unwrap_err().to_string();
        assert!(error.contains(complaint), "{error}");
    }
    let huge = format!("{{\"quotes\":[],\"x\":\"{}\"}}", "a".repeat(MAX_BODY));
    *pool.answer.lock().unwrap() = Some((StatusCode::OK, huge));
    let error = new_of(&mut listing).await.unwrap_err();
    assert!(matches!(error.problem, ListingProblem::Http(_)), "{error}");
    // Afterwards it goes on as if nothing had been.
    *pool.answer.lock().unwrap() = None;
    pool.add(0..4);
    assert_eq!(new_of(&mut listing).await.unwrap(), numbers(0..4));
    let mut gone = Listing::new("http://127.0.0.1:1", "02ab".to_owned());
    let error = new_of(&mut gone).await.unwrap_err();
    assert!(matches!(error.problem, ListingProblem::Http(_)), "{error}");
    assert!(
        error
            .to_string()
            .starts_with("the pool's page at http://127.0.0.1:1 can't be read: "),
        "{error}"
    );
}
