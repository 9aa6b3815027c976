//! The buckets of one process keep the port's contract.

use bifrost_adapters::limits::InProcess;
use bifrost_domain::ports::limits::Limiter;
use std::sync::Arc;

async fn with_limits(case: impl AsyncFnOnce(Arc<dyn Limiter>, Arc<dyn Limiter>)) {
    let limits: Arc<dyn Limiter> = Arc::new(InProcess::new());
    case(Arc::clone(&limits), limits).await;
}

bifrost_domain::limits_contract!(with_limits);
