//! The bus of one process keeps the port's contract.

use bifrost_adapters::bus::InProcess;
use bifrost_domain::ports::bus::Bus;
use std::sync::Arc;

async fn with_bus(case: impl AsyncFnOnce(Arc<dyn Bus>, Arc<dyn Bus>)) {
    let bus: Arc<dyn Bus> = Arc::new(InProcess::new());
    case(Arc::clone(&bus), bus).await;
}

bifrost_domain::bus_contract!(with_bus);
