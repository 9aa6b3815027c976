//! Every adapter against the suite of its port, and against outages. One binary, so that it is linked once.
#![expect(clippy::expect_used, reason = "tests fail by panicking")]

mod broker_in_process;
mod broker_rabbitmq;
mod broker_rabbitmq_outage;
mod broker_rabbitmq_restart;
mod bus_in_process;
mod bus_redis;
mod bus_redis_restart;
mod limits_in_process;
mod limits_redis;
mod objects_folder;
mod support;
