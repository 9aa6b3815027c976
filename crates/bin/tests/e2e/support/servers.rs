//! Servers of a test's own: PostgreSQL, RabbitMQ and Redis that it may end and start again.

use super::Backends;
use bifrost_test_support::{PrivateServer, Service};

pub(crate) struct Servers {
    pub(crate) postgres: PrivateServer,
    pub(crate) rabbitmq: PrivateServer,
    pub(crate) redis: PrivateServer,
}

impl Servers {
    pub(crate) async fn start() -> Self {
        let (postgres, rabbitmq, redis) = tokio::join!(
            PrivateServer::start(Service::Postgres),
            PrivateServer::start(Service::RabbitMq),
            PrivateServer::start(Service::Redis),
        );
        Self { postgres, rabbitmq, redis }
    }

    pub(crate) fn backends(&self) -> Backends {
        Backends {
            postgres: self.postgres.url().to_owned(),
            rabbitmq: self.rabbitmq.url().to_owned(),
            redis: self.redis.url().to_owned(),
        }
    }
}
