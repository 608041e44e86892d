//! Serves a router over HTTP/1.1 within bounds, and stops in order.
//!
//! A connection takes a place. One that does not send its next header in time gives its place back, one whose peer
//! has vanished does so when the kernel has tried long enough, and streams never take all of them.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Extension, Router, middleware};
use hyper::{
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use log_limit::LogLimit;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{config::Limits, http, refresh::Client};

/// What is in flight when the server stops may still be finished within this time.
const GRACE: Duration = Duration::from_secs(2);

/// Bytes that the peer does not acknowledge for this long end its connection. Heartbeats make sure there are some.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// What the header of a request may take. A thousand connections with the largest one are 64 MiB.
const LARGEST_HEADER: usize = 64 * 1024;

/// Accepting fails where descriptors run out: a moment's wait.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What handlers know of the server that runs them.
#[derive(Clone, Debug)]
pub(crate) struct Serving {
    pub(crate) stop: CancellationToken,
    pub(crate) streams: Arc<Semaphore>,
}

/// Serves `router` with the default [`Limits`] until `stop`; see [`serve_within`].
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    serve_within(listener, router, Limits::default(), stop).await;
}

/// Serves `router` until `stop`. Then streams end at once, answers in flight get two seconds, and this returns when
/// the last connection is closed.
pub async fn serve_within(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let serving = Serving {
        stop: stop.clone(),
        streams: Arc::new(Semaphore::new(limits.max_streams)),
    };
    let router = router
        .layer(Extension(serving))
        .layer(middleware::from_fn(http::one_host));
    let places = Arc::new(Semaphore::new(limits.max_connections));
    let connections = TaskTracker::new();
    let refused = LogLimit::default();
    while let Some((accepted, place)) = next_connection(&listener, &places, &stop).await {
        match accepted {
            Ok((socket, client)) => {
                connections.spawn(connection(socket, client, router.clone(), limits, stop.clone(), place));
            }
            Err(error) => {
                if let Some(times) = refused.note() {
                    tracing::warn!(%error, times, "HTTP connections can't be accepted");
                }
                time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// The next connection once there is a place for it; `None` when the server stops.
async fn next_connection(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(io::Result<(TcpStream, SocketAddr)>, OwnedSemaphorePermit)> {
    let accept = async {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        Some((listener.accept().await, place))
    };
    stop.run_until_cancelled(accept).await.flatten()
}

async fn connection(
    socket: TcpStream,
    client: SocketAddr,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    if let Err(error) = tune(&socket) {
        tracing::debug!(%error, "a connection was gone before it was served");
        return;
    }
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Client(client));
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(LARGEST_HEADER)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match time::timeout(GRACE, connection).await {
                Ok(ended) => ended,
                Err(_) => return tracing::debug!("a connection was cut at the end of its grace"),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

fn tune(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    #[cfg(any(target_os = "android", target_os = "linux"))]
    socket2::SockRef::from(socket).set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(())
}
