//! The HTTP side: few connections, one request each, small and soon over.
//!
//! Not here, on purpose: what the answers say (`health`, `metrics`), encryption: it listens on loopback unless told otherwise.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use margate_net::frame::PROTOCOL_VERSION;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::look::{Looker, View};
use super::{health, metrics};

/// Connections served at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 16;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// Time in which a request's head must have come.
const HEAD_MAX: Duration = Duration::from_secs(5);
/// Time in which a connection is over: the head, the look, and an answer taken by a slow reader.
const CONNECTION_MAX: Duration = Duration::from_secs(15);
/// Time until another connection is accepted after one could not be.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const INDEX: &str = "\
/metrics  what this node counts and measures, for Prometheus
/livez    200 if all its cores answer
/readyz   200 if it can stand in for another node
/version  what it is
";

/// What is answered.
struct Page {
    status: StatusCode,
    kind: &'static str,
    text: String,
}

/// Serves until the runtime ends.
pub(super) async fn serve(listener: TcpListener, looker: Looker) {
    let (looker, free) = (Arc::new(looker), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    loop {
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(converse(stream, Arc::clone(&looker), permit))),
            Err(error) => {
                tracing::warn!(%error, "a connection to the admin address was not accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, looker: Arc<Looker>, permit: OwnedSemaphorePermit) {
    let answer = service_fn(|request: Request<Incoming>| {
        let looker = Arc::clone(&looker);
        async move { Ok::<_, Infallible>(respond(&request, &looker).await) }
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    match tokio::time::timeout(CONNECTION_MAX, conversation).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to the admin address ended"),
        Err(_elapsed) => tracing::debug!("a connection to the admin address took too long"),
    }
    drop(permit);
}

async fn respond(request: &Request<Incoming>, looker: &Looker) -> Response<Full<Bytes>> {
    let asks = request.method() == Method::GET || request.method() == Method::HEAD;
    let page = if asks {
        page(request.uri().path(), looker).await
    } else {
        Page::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n")
    };
    let mut response = Response::new(Full::from(page.text));
    *response.status_mut() = page.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(page.kind));
    if !asks {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

async fn page(path: &str, looker: &Looker) -> Page {
    match path {
        "/" => Page::text(StatusCode::OK, INDEX),
        "/metrics" => measured(looker.look().await),
        "/livez" => verdict("live", &health::dead(&looker.look().await)),
        "/readyz" => verdict("ready", &health::unready(&looker.look().await)),
        "/version" => version(),
        _ => Page::text(StatusCode::NOT_FOUND, format!("there is no such page; there are:\n{INDEX}")),
    }
}

fn measured(view: View) -> Page {
    match metrics::encode(view) {
        Ok(text) => Page {
            status: StatusCode::OK,
            kind: metrics::CONTENT_TYPE,
            text,
        },
        Err(std::fmt::Error) => Page::text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written\n"),
    }
}

fn verdict(word: &str, lacks: &[String]) -> Page {
    if lacks.is_empty() {
        return Page::text(StatusCode::OK, format!("{word}\n"));
    }
    Page::text(StatusCode::SERVICE_UNAVAILABLE, format!("not {word}\n{}\n", lacks.join("\n")))
}

fn version() -> Page {
    let version = json!({
        "name": "margate",
        "version": env!("CARGO_PKG_VERSION"),
        "protocol": PROTOCOL_VERSION,
        "format": margate_engine::log::segment::FORMAT,
    });
    Page {
        status: StatusCode::OK,
        kind: JSON,
        text: format!("{version}\n"),
    }
}

impl Page {
    fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            kind: TEXT,
            text: text.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use margate_engine::runtime::node::StopHandle;
    use margate_engine::runtime::watch::NodeWatch;
    use margate_net::ids::{CoreId, NodeId};
    use std::net::{Ipv4Addr, SocketAddr};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Serves this node, and gets one page.
    async fn get(watch: &NodeWatch, path: &str) -> String {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let serving = tokio::spawn(serve(listener, Looker::new(watch.clone())));
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        serving.abort();
        answer
    }

    /// Its question lies there: the core is busy for ever.
    #[tokio::test]
    async fn a_core_that_does_not_answer_is_named_and_counted() {
        let watch = NodeWatch::new(NodeId(1), 2, StopHandle::default());
        watch.joined();
        let _busy = watch.attach(CoreId(0), Arc::default());
        drop(watch.attach(CoreId(1), Arc::default()));
        let answer = get(&watch, "/livez").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.ends_with("not live\ncore 0 does not answer within 1 s\n"), "{answer}");
        let answer = get(&watch, "/readyz").await;
        assert!(
            answer.ends_with("core 0 does not answer within 1 s\ncore 1 has stopped\n"),
            "{answer}"
        );
        let answer = get(&watch, "/metrics").await;
        assert!(answer.contains("margate_core_unanswered_total{core=\"0\"} 1\n"), "{answer}");
        assert!(answer.contains("margate_core_up{core=\"0\"} 0\n"), "{answer}");
    }
}
