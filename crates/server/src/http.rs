//! Health and metrics over HTTP: two pages, GET only, one request per connection. A web framework would be
//! larger than all of this.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::metrics;
use crate::node::Node;
use crate::world::{Listener, Place, World};

/// A request head longer than this is refused.
const HEAD_BYTES_MAX: usize = 4096;
/// A request must be complete, and its answer taken, within this time.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// Serves `/metrics` and `/health` until the world stops.
pub(crate) async fn serve<W: World>(node: Arc<Node<W>>, mut listener: W::Listener) {
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = node.stopping() => return,
        };
        let accepted = match accepted {
            Ok((accepted, _)) => accepted,
            Err(error) => {
                warn!(%error, "no connection accepted for metrics");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let task_node = Arc::clone(&node);
        let task = async move {
            let Ok(stream) = task_node.world.adopt(accepted) else { return };
            if timeout(REQUEST_MAX, answer(&task_node, stream)).await.is_err() {
                debug!("metrics request took too long");
            }
        };
        node.world.spawn(Place::Background, Box::pin(task));
    }
}

async fn answer<W: World>(node: &Node<W>, mut stream: W::Stream) {
    let Some(head) = head(&mut stream).await else { return };
    let (status, kind, body) = match target(&head) {
        Some("/metrics") => {
            let text = metrics::told(node).await;
            ("200 OK", "application/openmetrics-text; version=1.0.0; charset=utf-8", text)
        }
        Some("/health" | "/") => match node.health() {
            Ok(()) => ("200 OK", "text/plain", "ok\n".to_owned()),
            Err(reason) => ("503 Service Unavailable", "text/plain", format!("{reason}\n")),
        },
        Some(_) => ("404 Not Found", "text/plain", "there is /metrics and /health\n".to_owned()),
        None => ("400 Bad Request", "text/plain", "only GET is understood\n".to_owned()),
    };
    let length = body.len();
    let response = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    // A reader that went away needs no answer.
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Everything up to the empty line, or nothing if it does not come.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if head.len() > HEAD_BYTES_MAX || stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

/// The path of a GET request, without its query.
fn target(head: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(head.split(|byte| *byte == b'\r').next()?).ok()?;
    let path = line.strip_prefix("GET ")?.split(' ').next()?;
    path.split('?').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_get_has_a_target() {
        assert_eq!(target(b"GET /metrics?x=1 HTTP/1.1\r\nhost: x\r\n\r\n"), Some("/metrics"));
        assert_eq!(target(b"POST /metrics HTTP/1.1\r\n\r\n"), None);
        assert_eq!(target(b"\xff\xfe\r\n\r\n"), None);
    }
}
