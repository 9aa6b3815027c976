//! What becomes of a body that nobody reads, because the answer was given before it came.
//!
//! A server that answers and closes while the client still sends makes the client's system throw the answer away: it sees a connection that
//! was reset. So what is left of a body is read in the background and forgotten, up to a bound; behind it the connection is closed.

use axum::{
    body::{Body, BodyDataStream, HttpBody},
    extract::Request,
    http::header,
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

/// What is read of a body that nobody wants, at most.
const MOST_BYTES: usize = 64 * 1024 * 1024;
const MOST_TIME: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) async fn bodies(request: Request, next: Next) -> Response {
    // A client that asks first (`Expect: 100-continue`) sends nothing unless somebody reads.
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let body = Body::from_stream(Watched(Some(body.into_data_stream())));
    next.run(Request::from_parts(parts, body)).await
}

/// A body; what is left of it when it is dropped is read. `None` at its end.
struct Watched(Option<BodyDataStream>);

impl Stream for Watched {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let next = ready!(body.poll_next_unpin(context));
        if !matches!(next, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(next)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(body) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(tokio::time::timeout(MOST_TIME, forget(body)));
        }
    }
}

async fn forget(mut body: BodyDataStream) {
    let mut left = MOST_BYTES;
    while let Some(Ok(part)) = body.next().await {
        match left.checked_sub(part.len()) {
            Some(less) => left = less,
            None => return,
        }
    }
}
