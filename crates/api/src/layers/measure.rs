//! Counts requests and their time.

use crate::metrics::{Requests, request_in_flight};
use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use std::{sync::Arc, time::Instant};

/// See the module. A request whose caller goes away before the answer is counted in flight only.
pub(crate) async fn requests(
    State(requests): State<Arc<Requests>>,
    request: Request,
    next: Next,
) -> Response {
    let _in_flight = request_in_flight();
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    requests.answered(route.as_ref().map(MatchedPath::as_str), &method, response.status(), started.elapsed());
    response
}
