//! The broker in one process keeps the port's contract.

use bifrost_adapters::broker::InProcess;
use bifrost_domain::ports::broker::Broker;
use std::sync::Arc;

async fn with_broker(case: impl AsyncFnOnce(Arc<dyn Broker>)) {
    case(Arc::new(InProcess::new())).await;
}

bifrost_domain::broker_contract!(with_broker);
